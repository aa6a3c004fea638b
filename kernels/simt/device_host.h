#pragma once
// simt.h under a host compiler: CUDA's language and intrinsics in terms of the executor. Intrinsics that
// threads meet in take the place they are called from, for messages and to tell barriers apart.

#include <cmath>
#include <cstring>
#include <tuple>
#include <type_traits>

#include "kernels/simt/device_runtime.h"

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __grid_constant__
#define __launch_bounds__(...)
#undef __shared__
// Works, but has neither guard zones nor poison: prefer SIMT_SHARED.
#define __shared__ static thread_local
#define SIMT_SHARED(T, name, dims)                          \
  using name##_simt_type = T dims;                          \
  static char name##_simt_key;                              \
  name##_simt_type& name = *static_cast<name##_simt_type*>( \
      ::rtfq::simt::device::shared_variable(&name##_simt_key, sizeof(name##_simt_type), #name))
#define SIMT_DYNAMIC_SHARED(T, name) T* name = static_cast<T*>(::rtfq::simt::device::dynamic_shared())
#define SIMT_HERE ::rtfq::simt::device::Place here = ::rtfq::simt::device::Place::current()

namespace rtfq::simt {

using stream_t = Stream*;

namespace device {
template <class T>
void check_argument(const T& argument) {
  if constexpr (std::is_pointer_v<T>)
    if constexpr (!std::is_function_v<std::remove_pointer_t<T>>) check_pointer(argument);
}
}  // namespace device

/// Null stream: everything queued runs first, then the kernel, before this returns. Otherwise the kernel is
/// queued with its arguments copied, as CUDA copies them.
template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared, stream_t stream,
            A... arguments) {
  (device::check_argument(static_cast<P>(arguments)), ...);
  auto task = [kernel, grid, block, shared, packed = std::tuple<P...>(static_cast<P>(arguments)...)] {
    auto body = [&] { std::apply(kernel, packed); };
    device::run(
        grid, block, shared, [](void* f) { (*static_cast<decltype(body)*>(f))(); }, &body);
  };
  if (stream) {
    device::check_launch(grid, block, shared);
    stream->submit(std::move(task));
    return;
  }
  synchronize();
  task();
}

template <int bytes>
void copy_async(void* shared, const void* global, bool valid = true) {
  static_assert(bytes == 4 || bytes == 8 || bytes == 16, "cp.async moves 4, 8 or 16 bytes");
  struct alignas(bytes) Word {
    unsigned char byte[bytes];
  };
  device::copy_async(shared, valid ? global : nullptr, bytes, [](void* to, const void* from) {
    *static_cast<Word*>(to) = from ? *static_cast<const Word*>(from) : Word{};
  });
}
inline void copy_async_commit() {
  device::copy_async_commit();
}
template <int groups>
void copy_async_wait() {
  device::copy_async_wait(groups);
}

namespace device {

template <class T>
T shuffle(unsigned mask, T value, int source, Place here) {
  static_assert(std::is_trivially_copyable_v<T> && (sizeof(T) == 4 || sizeof(T) == 8),
                "shuffles move 4 or 8 bytes");
  T result = value;
  shuffle_bytes(mask, &value, &result, sizeof(T), source, here);
  return result;
}

/// One atomic update by compare and exchange; `change` maps the old value to the new one.
template <class T, class F>
T atomic_update(T* address, F change) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  maybe_yield();
  Bits* bits = reinterpret_cast<Bits*>(address);
  Bits old_bits = __atomic_load_n(bits, __ATOMIC_RELAXED), new_bits;
  T old;
  do {
    std::memcpy(&old, &old_bits, sizeof(T));
    const T wanted = change(old);
    std::memcpy(&new_bits, &wanted, sizeof(T));
  } while (
      !__atomic_compare_exchange_n(bits, &old_bits, new_bits, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return old;
}

}  // namespace device
}  // namespace rtfq::simt

inline void __syncthreads(SIMT_HERE) {
  rtfq::simt::device::barrier(0, here);
}
inline int __syncthreads_count(int p, SIMT_HERE) {
  return rtfq::simt::device::barrier(p, here).votes;
}
inline int __syncthreads_or(int p, SIMT_HERE) {
  return rtfq::simt::device::barrier(p, here).votes > 0;
}
inline int __syncthreads_and(int p, SIMT_HERE) {
  const auto result = rtfq::simt::device::barrier(p, here);
  return result.votes == result.arrived;
}
inline void __syncwarp(unsigned mask = ~0u, SIMT_HERE) {
  rtfq::simt::device::sync_warp(mask, here);
}
inline unsigned __ballot_sync(unsigned mask, int p, SIMT_HERE) {
  return rtfq::simt::device::ballot(mask, p, here);
}
inline int __any_sync(unsigned mask, int p, SIMT_HERE) {
  return __ballot_sync(mask, p, here) != 0;
}
inline int __all_sync(unsigned mask, int p, SIMT_HERE) {
  return __ballot_sync(mask, !p, here) == 0;
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, SIMT_HERE) {
  const int lane = rtfq::simt::device::lane();
  return rtfq::simt::device::shuffle(mask, value, (lane & ~(width - 1)) | (source & (width - 1)), here);
}
// A source beyond the lane's segment answers the lane's own value.
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, SIMT_HERE) {
  const int lane = rtfq::simt::device::lane(), source = lane ^ bits;
  return rtfq::simt::device::shuffle(mask, value, source > (lane | (width - 1)) ? lane : source, here);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, SIMT_HERE) {
  const int lane = rtfq::simt::device::lane(), source = lane + static_cast<int>(delta);
  return rtfq::simt::device::shuffle(mask, value, source > (lane | (width - 1)) ? lane : source, here);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, SIMT_HERE) {
  const int lane = rtfq::simt::device::lane(), source = lane - static_cast<int>(delta);
  return rtfq::simt::device::shuffle(mask, value, source < (lane & ~(width - 1)) ? lane : source, here);
}

// The second parameter is not deduced, so that it converts as CUDA's overloads do.
template <class T>
T atomicAdd(T* p, std::type_identity_t<T> v) {
  return rtfq::simt::device::atomic_update(p, [v](T old) { return static_cast<T>(old + v); });
}
template <class T>
T atomicMax(T* p, std::type_identity_t<T> v) {
  return rtfq::simt::device::atomic_update(p, [v](T old) { return old < v ? v : old; });
}
template <class T>
T atomicMin(T* p, std::type_identity_t<T> v) {
  return rtfq::simt::device::atomic_update(p, [v](T old) { return v < old ? v : old; });
}
template <class T>
T atomicExch(T* p, std::type_identity_t<T> v) {
  return rtfq::simt::device::atomic_update(p, [v](T) { return v; });
}
template <class T>
T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> v) {
  return rtfq::simt::device::atomic_update(p, [=](T old) { return old == expected ? v : old; });
}

inline void __threadfence() {
  rtfq::simt::device::fence();
}
inline void __threadfence_block() {
  rtfq::simt::device::fence();
}
template <class T>
T __ldg(const T* p) {
  return *p;
}
template <class T>
T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
T max(T a, T b) {
  return a < b ? b : a;
}
inline int __float2int_rn(float x) {
  return static_cast<int>(rintf(x));
}
inline float __frcp_rn(float x) {
  return 1.0f / x;
}
inline float __fdiv_rn(float a, float b) {
  return a / b;
}
inline float __fsqrt_rn(float x) {
  return sqrtf(x);
}
inline float __fmaf_rn(float a, float b, float c) {
  return fmaf(a, b, c);
}
inline float rsqrtf(float x) {
  return 1.0f / sqrtf(x);
}
inline int __popc(unsigned x) {
  return __builtin_popcount(x);
}
inline int __ffs(int x) {
  return __builtin_ffs(x);
}
inline unsigned __float_as_uint(float f) {
  unsigned u;
  std::memcpy(&u, &f, 4);
  return u;
}
inline float __uint_as_float(unsigned u) {
  float f;
  std::memcpy(&f, &u, 4);
  return f;
}
