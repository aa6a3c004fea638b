#pragma once
// Small kernels with one fault each, and their repaired forms, to test the executor with.

#include "kernels/simt/simt.h"

namespace rtfq::test {

/// Sum over the block in every thread. Fault 1: no barrier before the partial sums are read; 2: none before a
/// second call overwrites them.
template <int fault>
__device__ float block_sum(float v, float* part) {
  for (int offset = 16; offset; offset /= 2) v += __shfl_xor_sync(~0u, v, offset);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
  if (fault != 1) __syncthreads();
  float sum = 0;
  for (unsigned i = 0; i < blockDim.x / 32; ++i) sum += part[i];
  if (fault != 2) __syncthreads();
  return sum;
}
template <int fault>
__global__ void two_sums(float* out) {
  SIMT_SHARED(float, part, [32]);
  const float a = block_sum<fault>(1.0f, part), b = block_sum<fault>(2.0f, part);
  out[threadIdx.x] = a + 1000 * b;
}

/// Neighbours of a warp exchange through shared memory; without the __syncwarp, a race.
template <bool synchronised>
__global__ void exchange(float* out) {
  SIMT_SHARED(float, s, [1024]);
  const unsigned t = threadIdx.x;
  s[t] = static_cast<float>(t);
  if (synchronised) __syncwarp();
  out[t] = s[t ^ 1];
}

/// A thread of one warp reads what a thread of another has written.
__global__ inline void race_once(float* out) {
  SIMT_SHARED(float, s, [1]);
  if (threadIdx.x == 17) s[0] = 5;
  out[threadIdx.x] = threadIdx.x == 80 ? s[0] : 0;
}

__global__ inline void divergent_barrier(float* out) {
  if (threadIdx.x < 40) {
    __syncthreads();
    out[0] = 1;
  } else {
    __syncthreads();
    out[1] = 1;
  }
}
/// Half the threads wait for the block, the others for a warp that never meets.
__global__ inline void barrier_of_some(float* out) {
  if (threadIdx.x % 2)
    __syncwarp();
  else
    __syncthreads();
  out[0] = 1;
}
__global__ inline void shuffle_after_return(float* out) {
  if (threadIdx.x >= 20) return;
  out[threadIdx.x] = __shfl_down_sync(~0u, 1.0f, 4);
}
__global__ inline void lane_not_in_mask(float* out) {
  out[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, 1.0f, 1);
}
__global__ inline void different_operations(float* out) {
  const unsigned all = ~0u;
  if (threadIdx.x % 2)
    out[threadIdx.x] = __shfl_xor_sync(all, 1.0f, 1);
  else
    out[threadIdx.x] = static_cast<float>(__ballot_sync(all, 1));
}

__global__ inline void unwritten_shared(float* out) {
  SIMT_SHARED(float, s, [64]);
  if (threadIdx.x < 63) s[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = s[threadIdx.x];
}
/// Writes at `index` of 100 elements that lie between two other variables.
__global__ inline void write_shared_at(float* out, int index) {
  SIMT_SHARED(float, below, [100]);
  SIMT_SHARED(float, middle, [100]);
  SIMT_SHARED(float, above, [100]);
  below[threadIdx.x] = above[threadIdx.x] = 1;
  float* p = middle;
  if (threadIdx.x == 3) p[index] = 2;
  __syncthreads();
  out[threadIdx.x] = below[threadIdx.x] + above[threadIdx.x];
}
__global__ inline void write_dynamic_at(float* out, int index) {
  SIMT_DYNAMIC_SHARED(float, s);
  s[threadIdx.x] = 1;
  if (threadIdx.x == 0) s[index] = 2;
  __syncthreads();
  out[threadIdx.x] = s[threadIdx.x];
}
__global__ inline void too_much_shared(float* out) {
  SIMT_SHARED(float, big, [12000]);
  big[0] = 1;
  SIMT_SHARED(float, more, [1000]);
  more[0] = out[0];
}

/// Legal: disjoint masks in divergent branches, loops of different lengths, returned threads at a barrier.
__global__ inline void legal_divergence(float* out) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  float v = static_cast<float>(lane);
  if (lane < 8) {
    for (int i = 0; i < 3; ++i) v += __shfl_xor_sync(0xffu, v, 1 << i);
  } else if (lane < 20) {
    const unsigned mask = 0xfff00u;
    for (int i = 0; i < 5; ++i) v += __shfl_sync(mask, v, 8);
  } else {
    v = static_cast<float>(__popc(__ballot_sync(0xfff00000u, lane & 1)));
    __syncwarp(0xfff00000u);
  }
  __syncwarp();
  if (threadIdx.x >= 64) return;
  const int voters = __syncthreads_count(lane % 2);
  out[blockIdx.x * 64 + threadIdx.x] = v + static_cast<float>(voters) + __shfl_down_sync(~0u, v, 1);
}

/// Four floats a thread through cp.async, two groups. Fault 1: no wait before use; 2: waits for one group too
/// few; 3: no barrier, though threads read what others have copied.
template <int fault>
__global__ void through_shared(const float* in, float* out) {
  SIMT_SHARED(float, s, [2][256]);
  const unsigned t = threadIdx.x;
  simt::copy_async<16>(&s[0][4 * t], in + 4 * t);
  simt::copy_async_commit();
  simt::copy_async<16>(&s[1][4 * t], in + 256 + 4 * t);
  simt::copy_async_commit();
  if (fault == 2) simt::copy_async_wait<1>();
  if (fault == 0 || fault == 3) simt::copy_async_wait<0>();
  if (fault != 3) __syncthreads();
  for (unsigned i = t; i < 256; i += blockDim.x) out[i] = s[0][255 - i] + s[1][255 - i];
}
__global__ inline void misaligned_copy(const float* in) {
  SIMT_SHARED(float, s, [8]);
  simt::copy_async<16>(&s[1], in);
}

__global__ inline void count_atomically(float* sum, unsigned* most) {
  atomicAdd(sum, 1);
  atomicMax(most, threadIdx.x + 1000 * blockIdx.x);
}
/// What a thread's turn was: differs between schedules, and must not between two runs of one.
__global__ inline void take_numbers(unsigned* counter, unsigned* number) {
  number[blockIdx.x * blockDim.x + threadIdx.x] = atomicAdd(counter, 1u);
}
__global__ inline void add_to(float* p, float v, int n) {
  for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x)) p[i] += v;
}
__global__ inline void double_it(float* p, int n) {
  for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x)) p[i] *= 2;
}

}  // namespace rtfq::test
