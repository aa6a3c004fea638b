// Batch statistics from what a convolution's tiles found of their rows (convstatistics.h).
//
// A block of 512 threads takes 16 channels of a segment, 32 tiles at a time. A tile's figures are sums about
// its own mean; moved to the first tile's mean, in double, they add up (Chan, Golub and LeVeque 1979), in an
// order that the shape and the tile's size fix: the same bits on every run and every GPU. Floor: 12 bytes a
// channel and tile of 64 or 128 rows, mostly in the second-level cache. Shared memory: 8.7 KB. Not yet timed
// on a GPU.
#include "kernels/cuda/channel_rows.h"
#include "kernels/cuda/convstatistics.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

__global__ void __launch_bounds__(ChannelTotals::threads)
    combine(const __grid_constant__ TileFigures tiles, float* __restrict__ mean,
            float* __restrict__ variance) {
  const int x = static_cast<int>(threadIdx.x) % ChannelTotals::channels,
            lane = static_cast<int>(threadIdx.x) / ChannelTotals::channels;
  const int column = static_cast<int>(blockIdx.x) * ChannelTotals::channels + x;
  const int segment = static_cast<int>(blockIdx.y);
  const int begin = segment ? tiles.end[segment - 1] : 0, end = tiles.end[segment];
  const int first = begin / tiles.tile_rows, last = (end - 1) / tiles.tile_rows;
  double centre = 0, total[2] = {};
  if (column < tiles.columns) {
    centre = static_cast<double>(*tiles.of(first, segment, column));
    for (int tile = first + lane; tile <= last; tile += ChannelTotals::lanes) {
      const int row = tile * tiles.tile_rows;
      const int from = row > begin ? row : begin,
                to = row + tiles.tile_rows < end ? row + tiles.tile_rows : end;
      const float* figures = tiles.of(tile, segment, column);
      const double by = static_cast<double>(figures[0]) - centre, moved = by * static_cast<double>(to - from);
      const auto difference = static_cast<double>(figures[tiles.columns]),
                 square = static_cast<double>(figures[2 * tiles.columns]);
      total[0] += difference + moved;
      total[1] += square + by * (2 * difference + moved);
    }
  }
  ChannelTotals::over_lanes(x, lane, total);
  if (lane > 0 || column >= tiles.columns) return;
  const auto m = static_cast<double>(end - begin);
  const double offset = total[0] / m, spread = total[1] / m - offset * offset;
  mean[segment * tiles.columns + column] = static_cast<float>(centre + offset);
  variance[segment * tiles.columns + column] =
      static_cast<float>(spread < 0 ? 0 : spread);  // a NaN stays one
}

int64_t pixels(const ConvStatisticsShape& s) {
  return output_height(s.conv) * output_width(s.conv);
}

}  // namespace

TileFigures::TileFigures(const ConvStatisticsShape& s, int rows, void* workspace)
    : columns(static_cast<int>(s.conv.k)),
      tile_rows(rows),
      segments(s.segments),
      end{},
      figures(static_cast<float*>(workspace)) {
  for (int i = 0; i < segments; ++i) end[i] = static_cast<int>(s.segment_end[i] * pixels(s));
}

std::size_t tile_figures_bytes(const ConvStatisticsShape& s) {
  constexpr int64_t least_rows = 64;
  const int64_t slots = (s.conv.n * pixels(s) + least_rows - 1) / least_rows + s.segments - 1;
  return static_cast<std::size_t>(slots * 3 * s.conv.k) * sizeof(float);
}

void combine_figures(const TileFigures& tiles, float* mean, float* variance, Stream stream) {
  const auto blocks =
      static_cast<unsigned>((tiles.columns + ChannelTotals::channels - 1) / ChannelTotals::channels);
  simt::launch(combine, dim3(blocks, static_cast<unsigned>(tiles.segments)), dim3(ChannelTotals::threads), 0,
               stream_of(stream), tiles, mean, variance);
}

std::size_t convstatistics_folded_image(const ConvStatisticsShape& s) {
  return (folded_bytes(s.conv, s.conv.x_type) + 63) / 64 * 64;
}
std::size_t convstatistics_folded_bytes(const ConvStatisticsShape& s) {
  return convstatistics_folded_image(s) + tile_figures_bytes(s);
}

}  // namespace rtfq::kernels::RTFQ_GPU
