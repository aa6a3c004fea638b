#pragma once
// The end of conv2d_mma.h's kernel that stores y and takes the statistics of it, while a tile's values are in
// registers: partial sums of each tile, segment and channel, which a second launch joins
// (convstatistics_combine.cu).
//
// A tile's rows are pixels in order, so that a segment of the batch is a run of them, and nearly every tile
// lies in one. Of the rows that tile and segment share, a channel has three figures in f32: the mean as
// rounding left it, and the sums of the differences from it and of their squares. The first of these two
// makes up for that rounding, so that neither a mean far from zero nor the f32 sum that it came from costs
// the variance its digits. Sums are taken over a thread's rows, the warp's lanes and the two warps, in this
// order: the same bits on every run.

#include "kernels/convstatistics.h"
#include "kernels/cuda/conv2d_mma.h"

namespace rtfq::kernels::RTFQ_GPU {

/// Which rows tiles and segments share, and where the figures of those lie: [slots][3][columns]. From one
/// pair to the next tile, segment or both go up by one, so that their sum tells pairs apart.
struct TileFigures {
  int columns, tile_rows, segments;
  int end[RTFQ_MAX_SEGMENTS];  ///< rows
  float* figures;

  TileFigures(const ConvStatisticsShape&, int tile_rows, void* workspace);
  __device__ __forceinline__ float* of(int tile, int segment, int column) const {
    return figures + static_cast<int64_t>(tile + segment) * 3 * columns + column;
  }
};
/// Enough for tiles of any size.
std::size_t tile_figures_bytes(const ConvStatisticsShape&);
/// Mean and variance of every segment and channel from the figures of its tiles.
void combine_figures(const TileFigures&, float* mean, float* variance, Stream);

/// Of 8 columns that each of 32 lanes has a value of, the sums over the lanes with the same lane % 4: that of
/// column lane / 4. Lanes hand each other the half that they do not keep.
__device__ __forceinline__ float sum_of_column(const Floats<8>& own, int lane) {
  float four[4], two[2];
  const bool upper = lane & 16, middle = lane & 8, lower = lane & 4;
#pragma unroll
  for (int j = 0; j < 4; ++j)
    four[j] =
        (upper ? own.v[j + 4] : own.v[j]) + __shfl_xor_sync(0xffffffffu, upper ? own.v[j] : own.v[j + 4], 16);
#pragma unroll
  for (int j = 0; j < 2; ++j)
    two[j] =
        (middle ? four[j + 2] : four[j]) + __shfl_xor_sync(0xffffffffu, middle ? four[j] : four[j + 2], 8);
  return (lower ? two[1] : two[0]) + __shfl_xor_sync(0xffffffffu, lower ? two[0] : two[1], 4);
}

/// Stores y = scale * f32(sum), or the sum, in f32 or bf16, and the tile's figures: of forward products,
/// whose rows are y's pixels in order.
template <class Op>
struct StoreWithStatistics {
  static constexpr bool whole_tiles = true;
  const float* scale;
  rtfq_dtype type;
  void* y;
  TileFigures tiles;

  struct Thread {
    const StoreWithStatistics& all;

    __device__ __forceinline__ explicit Thread(const StoreWithStatistics& of) : all(of) {}

    /// Stores y of 8 neighbouring channels from element `at` on, and returns what is stored.
    __device__ __forceinline__ Floats<8> store(int64_t at, const Floats<8>& f) const {
      if (all.type == RTFQ_BF16) {
        const Packed<bf16, 8> stored = packed<bf16>(f);
        put(static_cast<bf16*>(all.y) + at, stored);
        return floats(stored);
      }
      RTFQ_GPU::store<8>(static_cast<float*>(all.y) + at, f);
      return f;
    }

    /// A thread's sums lie as conv2d_mma_kernel leaves them.
    template <class Tile, int m_tiles, int n_tiles>
    __device__ __forceinline__ void store_tile(const ConvProduct& z, int row0, int column0, int warp_row,
                                               int warp_column,
                                               const typename Op::Sum (&sum)[m_tiles][n_tiles][4]) const {
      constexpr int n_groups = n_tiles / 4, own_rows = 2 * m_tiles;
      const int lane = static_cast<int>(threadIdx.x) & 31;
      const int first_row = row0 + warp_row + (lane >> 2), first_column = warp_column + 8 * (lane & 3);
      const int rows = all.tiles.end[all.tiles.segments - 1];
      Floats<8> value[n_groups][own_rows] = {};
#pragma unroll
      for (int group = 0; group < n_groups; ++group) {
        const int column = column0 + first_column + 32 * group;
        if (column >= z.columns) continue;
        Floats<8> factor = {};
        if constexpr (Op::codes) factor = load<8>(all.scale + column);
#pragma unroll
        for (int i = 0; i < own_rows; ++i) {
          const int row = first_row + 8 * i;
          if (row >= rows) continue;
          Floats<8> f;
#pragma unroll
          for (int j = 0; j < 8; ++j) {
            const auto own = static_cast<float>(sum[i >> 1][4 * group + (j >> 1)][2 * (i & 1) + (j & 1)]);
            f.v[j] = Op::codes ? factor.v[j] * own : own;
          }
          value[group][i] = store(static_cast<int64_t>(row) * z.columns + column, f);
        }
      }
      int segment = 0;
      while (all.tiles.end[segment] <= row0) ++segment;
      const int tile_end = row0 + Tile::rows < rows ? row0 + Tile::rows : rows;
      for (int begin = row0; begin < tile_end; begin = all.tiles.end[segment++]) {
        const int end = all.tiles.end[segment] < tile_end ? all.tiles.end[segment] : tile_end;
        add_figures<Tile>(row0 / Tile::rows, segment, begin, end, column0, first_row, first_column, value);
      }
    }

    /// The figures of rows [begin, end) of the tile.
    template <class Tile, int n_groups, int own_rows>
    __device__ __forceinline__ void add_figures(int tile, int segment, int begin, int end, int column0,
                                                int first_row, int first_column,
                                                const Floats<8> (&value)[n_groups][own_rows]) const {
      SIMT_SHARED(float, part, [3][2][Tile::columns]);  // of the upper and the lower warps
      const int thread = static_cast<int>(threadIdx.x), lane = thread & 31, lower = thread >> 6;
      const int kept = first_column + (lane >> 2);  // the column whose sums stay with this lane
      const float share = __frcp_rn(static_cast<float>(end - begin));
#pragma unroll
      for (int group = 0; group < n_groups; ++group) {
        Floats<8> total = {};
#pragma unroll
        for (int i = 0; i < own_rows; ++i)
          if (first_row + 8 * i >= begin && first_row + 8 * i < end)
#pragma unroll
            for (int j = 0; j < 8; ++j) total.v[j] += value[group][i].v[j];
        part[0][lower][kept + 32 * group] = sum_of_column(total, lane);
      }
      __syncthreads();
      float* const to = all.tiles.of(tile, segment, column0 + thread);
      const bool stores = thread < Tile::columns && column0 + thread < all.tiles.columns;
      // The next segment's first sums go to part[0] without a barrier: it is read before the next one here.
      if (stores) to[0] = (part[0][0][thread] + part[0][1][thread]) * share;
#pragma unroll
      for (int group = 0; group < n_groups; ++group) {
        const int column = first_column + 32 * group;
        Floats<8> mean, difference = {}, square = {};
#pragma unroll
        for (int j = 0; j < 8; ++j) mean.v[j] = (part[0][0][column + j] + part[0][1][column + j]) * share;
#pragma unroll
        for (int i = 0; i < own_rows; ++i)
          if (first_row + 8 * i >= begin && first_row + 8 * i < end)
#pragma unroll
            for (int j = 0; j < 8; ++j) {
              const float d = value[group][i].v[j] - mean.v[j];
              difference.v[j] += d;
              square.v[j] = __fmaf_rn(d, d, square.v[j]);
            }
        part[1][lower][kept + 32 * group] = sum_of_column(difference, lane);
        part[2][lower][kept + 32 * group] = sum_of_column(square, lane);
      }
      __syncthreads();
      if (!stores) return;
      to[all.tiles.columns] = part[1][0][thread] + part[1][1][thread];
      to[2 * all.tiles.columns] = part[2][0][thread] + part[2][1][thread];
    }
  };
};

/// The convolution with statistics on tiles of one size, and the second launch. `workspace`: of
/// `tile_figures_bytes`.
template <class Op>
void conv2d_mma_with_statistics(ConvTile tile, const ConvProduct& z, const void* x,
                                const ConvStatisticsShape& s, const ConvStatisticsArgs& a, void* workspace,
                                Stream stream) {
  require_aligned_operands({a.y, a.scale});
  if (tile == ConvTile::by_cost) tile = cheapest_tile(z);
  const TileFigures tiles(s, tile == ConvTile::small ? 64 : 128, workspace);
  conv2d_mma<Op>(tile, z, x, a.packed, StoreWithStatistics<Op>{a.scale, s.conv.y_type, a.y, tiles}, stream);
  combine_figures(tiles, a.mean, a.variance, stream);
}

// On tensor cores, on tiles of a size or by cost (convstatistics_mma_*.cu).
template <ConvTile>
void convstatistics_mma_bf16(const ConvStatisticsShape&, const ConvStatisticsArgs&, Stream);
template <ConvTile>
void convstatistics_mma_codes(const ConvStatisticsShape&, const ConvStatisticsArgs&, Stream);
template <ConvTile>
void convstatistics_mma_tf32(const ConvStatisticsShape&, const ConvStatisticsArgs&, Stream);
// Of few channels: the image is copied to the workspace first.
void convstatistics_mma_bf16_folded(const ConvStatisticsShape&, const ConvStatisticsArgs&, Stream);
void convstatistics_mma_codes_folded(const ConvStatisticsShape&, const ConvStatisticsArgs&, Stream);
void convstatistics_mma_tf32_folded(const ConvStatisticsShape&, const ConvStatisticsArgs&, Stream);
std::size_t convstatistics_folded_bytes(const ConvStatisticsShape&);
/// Where a folded convolution's figures lie in its workspace, behind the image.
std::size_t convstatistics_folded_image(const ConvStatisticsShape&);

}  // namespace rtfq::kernels::RTFQ_GPU
