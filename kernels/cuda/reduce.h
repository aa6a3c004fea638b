#pragma once
// Sums over a block in a fixed order.

#include "kernels/cuda/gpu.h"

namespace rtfq::kernels::RTFQ_GPU {

/// The sum over the block's `threads` threads (a multiple of 32), valid in thread 0; a butterfly within
/// warps, then over the warps' sums. Once a kernel: its shared memory is not guarded against a second call.
template <int threads>
__device__ __forceinline__ double block_sum(double value) {
  static_assert(threads % 32 == 0 && threads <= 1024);
  SIMT_SHARED(double, warp_sum, [threads / 32]);
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int offset = 16; offset; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
  if (lane == 0) warp_sum[warp] = value;
  __syncthreads();
  if (warp == 0) {
    value = lane < threads / 32 ? warp_sum[lane] : 0.0;
    for (int offset = 16; offset; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
  }
  return value;
}

/// The same of several values, in place: `value` is the block's sums in thread 0.
template <int threads, int n>
__device__ __forceinline__ void block_sums(double (&value)[n]) {
  static_assert(threads % 32 == 0 && threads <= 1024);
  SIMT_SHARED(double, warp_sums, [n][threads / 32]);
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int k = 0; k < n; ++k) {
    for (int offset = 16; offset; offset /= 2) value[k] += __shfl_xor_sync(0xffffffffu, value[k], offset);
    if (lane == 0) warp_sums[k][warp] = value[k];
  }
  __syncthreads();
  if (warp == 0) {
#pragma unroll
    for (int k = 0; k < n; ++k) {
      value[k] = lane < threads / 32 ? warp_sums[k][lane] : 0.0;
      for (int offset = 16; offset; offset /= 2) value[k] += __shfl_xor_sync(0xffffffffu, value[k], offset);
    }
  }
}

}  // namespace rtfq::kernels::RTFQ_GPU
