#pragma once
// What every file of kernels/cuda starts with. The files are compiled by nvcc for GPUs and by the host's
// compiler for the executor, into namespaces of their own, so that one binary may hold both.

#include "kernels/operator.h"
#include "kernels/simt/simt.h"

#if defined(__CUDACC__)
#define RTFQ_GPU gpu_cuda
#define RTFQ_GPU_LIST cuda
#else
#define RTFQ_GPU gpu_simt
#define RTFQ_GPU_LIST simt
#endif

namespace rtfq::kernels::RTFQ_GPU {

inline simt::stream_t stream_of(Stream stream) {
  return static_cast<simt::stream_t>(stream.handle);
}

inline bool aligned(const void* pointer, std::size_t bytes) {
  return reinterpret_cast<uintptr_t>(pointer) % bytes == 0;
}

/// V floats that are loaded and stored at once: 16 bytes for V = 4.
template <int V>
struct Floats {
  float v[V];
};

template <int V>
__device__ __forceinline__ Floats<V> load(const float* p) {
  if constexpr (V == 4) {
    const float4 f = *reinterpret_cast<const float4*>(p);
    return {{f.x, f.y, f.z, f.w}};
  } else {
    return {{*p}};
  }
}

template <int V>
__device__ __forceinline__ void store(float* p, const Floats<V>& f) {
  if constexpr (V == 4)
    *reinterpret_cast<float4*>(p) = make_float4(f.v[0], f.v[1], f.v[2], f.v[3]);
  else
    *p = f.v[0];
}

}  // namespace rtfq::kernels::RTFQ_GPU
