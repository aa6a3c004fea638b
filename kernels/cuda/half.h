#pragma once
// values.h for f16: the same calls, by the same accesses.

#include "kernels/cuda/values.h"
#include "kernels/f16.h"

namespace rtfq::kernels::RTFQ_GPU {

namespace access {

#if defined(__CUDACC__)
/// Two floats as f16, the first in the lower half. A NaN becomes 0x7fff; all else is to_f16's, bit for bit.
__device__ __forceinline__ uint32_t pack_f16(float low, float high) {
  uint32_t packed;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}
/// The value in the lower half.
__device__ __forceinline__ float low_f16(uint32_t word) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(static_cast<uint16_t>(word)));
  return value;
}
#else
inline uint32_t pack_f16(float low, float high) {
  return uint32_t{to_f16(low).bits} | uint32_t{to_f16(high).bits} << 16;
}
inline float low_f16(uint32_t word) {
  return to_float(f16{static_cast<uint16_t>(word)});
}
#endif

}  // namespace access

template <int V>
__device__ __forceinline__ Floats<V> floats(const Packed<f16, V>& x) {
  Floats<V> f;
  if constexpr (V == 1) {
    f.v[0] = access::low_f16(x.bits.bits);
  } else {
#pragma unroll
    for (int j = 0; j < V; j += 2) {
      f.v[j] = access::low_f16(x.bits.w[j / 2]);
      f.v[j + 1] = access::low_f16(x.bits.w[j / 2] >> 16);
    }
  }
  return f;
}

template <int V>
__device__ __forceinline__ void store(f16* p, const Floats<V>& f) {
  Packed<f16, V> x;
  if constexpr (V == 1) {
    x.bits.bits = static_cast<uint16_t>(access::pack_f16(f.v[0], 0.0f));
  } else {
#pragma unroll
    for (int j = 0; j < V; j += 2) x.bits.w[j / 2] = access::pack_f16(f.v[j], f.v[j + 1]);
  }
  put(p, x);
}

}  // namespace rtfq::kernels::RTFQ_GPU
