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

}  // namespace rtfq::kernels::RTFQ_GPU
