// How the weight gradient's pixels are cut, and its partial sums, added into the parent's slice.
//
// add: a thread takes 4 neighbouring sums of the product (one, where channels are no multiple of 4), at once;
// of few pieces all, in a block of 256 threads; of many every eighth, in a block of 32 x 8 threads, and the
// eight are added in order through shared memory. The result depends on the shape alone. Sums of folded
// columns that stand for no weight are left out. Floor: 4 bytes a sum and piece, 4 or 8 a weight. Bound by
// memory. Shared memory: at most 4 KB. An earlier form, of a sum a thread and 32 a block, was bound by
// starting its blocks, one a nanosecond on an H200 (2026-11-27): 56 us for 1.9 million sums; this one
// is not yet timed on a GPU.
#include <algorithm>

#include "kernels/cuda/conv2d_wgrad.h"
#include "kernels/cuda/values.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

constexpr int add_threads = 256;

int narrow(int64_t x) {
  return static_cast<int>(x);
}

/// Where a column of the product lies in a filter of the parent.
struct Columns {
  int count;                // of the product
  int fold, fold_channels;  // of a folded row: columns of pixels and their channels; or 0
  int taps_w, channels;     // of the filter
};

template <int V, int adders>
__global__ void __launch_bounds__(add_threads)
    add(int count, int pieces, const Columns at, const WgradTo to) {
  constexpr int lanes = add_threads / adders;
  const int lane = static_cast<int>(threadIdx.x) % lanes, adder = static_cast<int>(threadIdx.x) / lanes;
  const int i = (static_cast<int>(blockIdx.x) * lanes + lane) * V;
  Floats<V> sum{};
  if (i < count)
#pragma unroll 4
    for (int piece = adder; piece < pieces; piece += adders) {
      const Floats<V> own = load<V>(to.partial + static_cast<int64_t>(piece) * count + i);
#pragma unroll
      for (int j = 0; j < V; ++j) sum.v[j] += own.v[j];
    }
  if constexpr (adders > 1) {
    SIMT_SHARED(float, part, [adders][lanes * V]);
    store<V>(&part[adder][lane * V], sum);
    __syncthreads();
    if (adder > 0) return;
    for (int other = 1; other < adders; ++other) {
      const Floats<V> own = load<V>(&part[other][lane * V]);
#pragma unroll
      for (int j = 0; j < V; ++j) sum.v[j] += own.v[j];
    }
  }
  if (i >= count) return;
  const int k = i / at.count, column = i - k * at.count;
  int tap, channel, inside = V;
  if (at.fold) {
    const int pixel = column / at.fold_channels, s = pixel % at.fold;
    channel = column - pixel * at.fold_channels;
    tap = pixel / at.fold * at.taps_w + s;
    if (s >= at.taps_w) return;
    inside = at.channels - channel;
  } else {
    tap = column / at.channels;
    channel = column - tap * at.channels;
  }
  float* own =
      to.dw + static_cast<int64_t>(k) * to.filter + static_cast<int64_t>(tap) * to.c_parent + channel;
  const float scale = to.scale ? *to.scale : 1.0f;
#pragma unroll
  for (int j = 0; j < V; ++j) sum.v[j] *= scale;
  if (V > 1 && to.quads && !at.fold) {
    if (to.accumulate) {
      const Floats<V> old = load<V>(own);
#pragma unroll
      for (int j = 0; j < V; ++j) sum.v[j] = old.v[j] + sum.v[j];
    }
    store<V>(own, sum);
    return;
  }
#pragma unroll
  for (int j = 0; j < V; ++j)
    if (j < inside) own[j] = to.accumulate ? own[j] + sum.v[j] : sum.v[j];
}

template <int V>
void launch_add(int count, int pieces, const Columns& at, const WgradTo& to, Stream stream) {
  const auto blocks = [&](int lanes) { return dim3(static_cast<unsigned>((count / V + lanes - 1) / lanes)); };
  if (pieces < 12)
    simt::launch(add<V, 1>, blocks(add_threads), dim3(add_threads), 0, stream_of(stream), count, pieces, at,
                 to);
  else
    simt::launch(add<V, 8>, blocks(add_threads / 8), dim3(add_threads), 0, stream_of(stream), count, pieces,
                 at, to);
}

}  // namespace

int wgrad_columns(const ConvProduct& z) {
  return z.part[0].taps_h * z.part[0].taps_w * z.channels;
}

int64_t WgradTile::tiles(const ConvProduct& z) const {
  return int64_t{(z.columns + rows - 1) / rows} * ((wgrad_columns(z) + columns - 1) / columns);
}

WgradCut best_cut(const ConvProduct& z, const WgradTile& tile, bool folded) {
  // Microseconds, from timings on an H200 (2026-11-27): of a step that waits for memory alone, of filling a
  // block's first stages, of a second launch; bytes a microsecond that a multiprocessor stages, and that all
  // write and read.
  constexpr double step_us = 0.35, fill_us = 1.5, launch_us = 3.0, staged = 5e4, moved = 2.5e6;
  const int64_t steps = (int64_t{z.part[0].rows} + tile.step - 1) / tile.step, tiles = tile.tiles(z);
  const int64_t most =
      std::max<int64_t>(std::min({tile.per_sm * multiprocessors / tiles, steps / 4, int64_t{65535}}), 1);
  const double sums = 4.0 * z.columns * wgrad_columns(z);
  WgradCut best{1, 1e30};
  for (int64_t pieces = 1; pieces <= most; ++pieces) {
    const int64_t blocks = (tiles * pieces + multiprocessors - 1) / multiprocessors;
    // A full wave, and what the last one has left.
    const auto wave = [&](int64_t held) {
      const auto h = static_cast<double>(held);
      const double products = h * tile.rows * tile.columns * tile.step / tile.rate;
      const double a_step = std::max({step_us, products, h * tile.bytes / staged});
      return held ? fill_us + static_cast<double>((steps + pieces - 1) / pieces) * a_step : 0.0;
    };
    double cost = static_cast<double>(blocks / tile.per_sm) * wave(tile.per_sm) + wave(blocks % tile.per_sm);
    if (pieces > 1 || folded) cost += launch_us + 2.0 * static_cast<double>(pieces) * sums / moved;
    if (cost < best.cost) best = {narrow(pieces), cost};
  }
  return best;
}

Wgrad cut_pixels(const ConvProduct& z, const WgradTile& tile, bool folded) {
  const ConvPart& part = z.part[0];
  Wgrad w{};
  w.z = z;
  w.columns = wgrad_columns(z);
  w.pixels = part.rows;
  const int steps = (w.pixels + tile.step - 1) / tile.step, pieces = best_cut(z, tile, folded).pieces;
  w.steps_per_piece = (steps + pieces - 1) / pieces;
  w.pieces = (steps + w.steps_per_piece - 1) / w.steps_per_piece;
  w.places_on = tile.step % part.width;
  w.rows_on = tile.step / part.width % part.height;
  w.images_on = tile.step / part.width / part.height;
  w.direct = w.pieces == 1 && !folded;
  return w;
}

WgradTo wgrad_to(const Conv2dShape& s, const Conv2dWgradArgs& a, float* partial) {
  return {partial,
          a.dw,
          a.scale,
          a.accumulate,
          s.c_parent % 2 == 0 && aligned(a.dw, 8),
          s.c_parent % 4 == 0 && aligned(a.dw, 16),
          narrow(s.c_parent),
          narrow(s.r * s.s * s.c_parent)};
}

void add_pieces(const Conv2dShape& s, const Wgrad& w, const ConvFold* fold, const WgradTo& to,
                Stream stream) {
  const Columns at{w.columns, fold ? fold->columns : 0, fold ? fold->channels : 0, narrow(s.s), narrow(s.c)};
  const int count = w.z.columns * w.columns;
  if ((fold ? fold->channels : w.z.channels) % 4 == 0 && aligned(to.partial, 16))
    launch_add<4>(count, w.pieces, at, to, stream);
  else
    launch_add<1>(count, w.pieces, at, to, stream);
}

}  // namespace rtfq::kernels::RTFQ_GPU
