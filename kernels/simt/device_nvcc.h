#pragma once
// simt.h under nvcc: a thin layer over CUDA.

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#define SIMT_SHARED(T, name, dims) __shared__ __align__(16) T name dims
#define SIMT_DYNAMIC_SHARED(T, name)                                     \
  extern __shared__ __align__(1024) unsigned char simt_dynamic_shared[]; \
  T* name = reinterpret_cast<T*>(simt_dynamic_shared)

namespace rtfq::simt {

using stream_t = cudaStream_t;

inline void check_launch(cudaError_t error, const char* what) {
  if (error != cudaSuccess)
    throw std::runtime_error(std::string("[cuda] ") + what + ": " + cudaGetErrorString(error));
}

template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared, stream_t stream,
            A... arguments) {
  if (shared > 48 * 1024)
    check_launch(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                      cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)),
                 "shared memory of a launch");
  kernel<<<grid, block, shared, stream>>>(static_cast<P>(arguments)...);
  check_launch(cudaGetLastError(), "launch");
}

/// cp.async of 4, 8 or 16 bytes from global to shared memory; zeros where !valid.
template <int bytes>
__device__ __forceinline__ void copy_async(void* shared, const void* global, bool valid = true) {
  static_assert(bytes == 4 || bytes == 8 || bytes == 16, "cp.async moves 4, 8 or 16 bytes");
  const auto to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const int from_bytes = valid ? bytes : 0;
  if constexpr (bytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(from_bytes)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(global), "n"(bytes),
                 "r"(from_bytes)
                 : "memory");
}
__device__ __forceinline__ void copy_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
/// Waits until at most `groups` of this thread's committed groups are in flight.
template <int groups>
__device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(groups) : "memory");
}

}  // namespace rtfq::simt
