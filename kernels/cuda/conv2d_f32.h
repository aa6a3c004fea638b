#pragma once
// What the convolutions without tensor cores share: a tile of 8192 sums by a block of 128 threads, 8 by 8 a
// thread, whose operands are staged in a ring, 8 terms a step.

#include "kernels/cuda/values.h"

namespace rtfq::kernels::RTFQ_GPU {

struct F32Tile {
  static constexpr int threads = 128, step = 8, stages = 3;
};

/// A row or column of a thread's 8: four neighbours in each half of the tile.
template <int side>
__device__ __forceinline__ int f32_place(int own, int i) {
  return (i >> 2) * (side / 2) + own + (i & 3);
}

/// Where a thread's rows and columns begin.
template <int columns>
__device__ __forceinline__ int f32_own_row() {
  return static_cast<int>(threadIdx.x) / (columns / 8) * 4;
}
template <int columns>
__device__ __forceinline__ int f32_own_column() {
  return static_cast<int>(threadIdx.x) % (columns / 8) * 4;
}

/// Adds the products of `steps` steps, terms in their order. `copy_step(stage)` starts a thread's copies of
/// the next one into a stage of both rings; they stay in flight for two steps.
template <int rows, int columns, class Left, class Right, class Copy>
__device__ __forceinline__ void f32_products(const Left& left, const Right& right, int steps,
                                             const Copy& copy_step, float (&sum)[8][8]) {
  constexpr int stages = F32Tile::stages;
  static_assert(rows * columns == F32Tile::threads * 64);
#pragma unroll
  for (int i = 0; i < stages - 1; ++i) {
    if (i < steps) copy_step(i);
    simt::copy_async_commit();
  }
  const int own_row = f32_own_row<columns>(), own_column = f32_own_column<columns>();
  int stage = 0, ahead = stages - 1;
  for (int at = 0; at < steps; ++at) {
    simt::copy_async_wait<stages - 2>();
    __syncthreads();
    if (at + stages - 1 < steps) copy_step(ahead);
    simt::copy_async_commit();
#pragma unroll
    for (int term = 0; term < F32Tile::step; ++term) {
      const Floats<4> a0 = load<4>(&left[stage][term][own_row]),
                      a1 = load<4>(&left[stage][term][rows / 2 + own_row]);
      const Floats<4> b0 = load<4>(&right[stage][term][own_column]),
                      b1 = load<4>(&right[stage][term][columns / 2 + own_column]);
#pragma unroll
      for (int i = 0; i < 8; ++i)
#pragma unroll
        for (int j = 0; j < 8; ++j)
          sum[i][j] =
              __fmaf_rn(i < 4 ? a0.v[i & 3] : a1.v[i & 3], j < 4 ? b0.v[j & 3] : b1.v[j & 3], sum[i][j]);
    }
    stage = stage + 1 == stages ? 0 : stage + 1;
    ahead = ahead + 1 == stages ? 0 : ahead + 1;
  }
}

}  // namespace rtfq::kernels::RTFQ_GPU
