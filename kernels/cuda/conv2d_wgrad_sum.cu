// The weight gradient's partial sums, added into the parent's slice.
//
// A block of 32 x 8 threads takes 32 neighbouring sums of the product, a thread every eighth piece of one;
// the eight are added in order through shared memory, so that the result depends on the shape alone. Sums of
// folded columns that stand for no weight are left out. Floor: 4 bytes a sum and piece, 4 or 8 a weight.
// Bound by memory. Shared memory: 1 KB. Not yet timed on a GPU.
#include <algorithm>

#include "kernels/cuda/conv2d_wgrad.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

constexpr int lanes = 32, adders = 8;

/// Where a column of the product lies in a filter of the parent.
struct Columns {
  int count;                // of the product
  int fold, fold_channels;  // of a folded row: columns of pixels and their channels; or 0
  int taps_w, channels;     // of the filter
  int c_parent, filter;     // elements
};

__global__ void __launch_bounds__(lanes* adders)
    add(int count, int pieces, Columns at, const float* __restrict__ partial, const float* __restrict__ scale,
        bool accumulate, float* __restrict__ dw) {
  SIMT_SHARED(float, part, [adders][lanes]);
  const int i = static_cast<int>(blockIdx.x) * lanes + static_cast<int>(threadIdx.x);
  const int adder = static_cast<int>(threadIdx.y);
  float sum = 0.0f;
  if (i < count)
#pragma unroll 4
    for (int piece = adder; piece < pieces; piece += adders)
      sum += partial[static_cast<int64_t>(piece) * count + i];
  part[adder][threadIdx.x] = sum;
  __syncthreads();
  if (adder > 0 || i >= count) return;
  for (int j = 1; j < adders; ++j) sum += part[j][threadIdx.x];
  const int k = i / at.count, column = i - k * at.count;
  int tap, channel;
  if (at.fold) {
    const int pixel = column / at.fold_channels, s = pixel % at.fold;
    channel = column - pixel * at.fold_channels;
    tap = pixel / at.fold * at.taps_w + s;
    if (s >= at.taps_w || channel >= at.channels) return;
  } else {
    tap = column / at.channels;
    channel = column - tap * at.channels;
  }
  float* to = dw + static_cast<int64_t>(k) * at.filter + static_cast<int64_t>(tap) * at.c_parent + channel;
  const float scaled = (scale ? *scale : 1.0f) * sum;
  *to = accumulate ? *to + scaled : scaled;
}

}  // namespace

int wgrad_columns(const ConvProduct& z) {
  return z.part[0].taps_h * z.part[0].taps_w * z.channels;
}

Wgrad cut_pixels(const ConvProduct& z, int step, int64_t tiles, int64_t blocks) {
  const ConvPart& part = z.part[0];
  Wgrad w{};
  w.z = z;
  w.columns = wgrad_columns(z);
  w.pixels = part.rows;
  const int64_t steps = (w.pixels + step - 1) / step;
  const int64_t pieces = std::max<int64_t>(std::min({blocks / tiles, steps / 8, int64_t{65535}}), 1);
  w.steps_per_piece = static_cast<int>((steps + pieces - 1) / pieces);
  w.pieces = static_cast<int>((steps + w.steps_per_piece - 1) / w.steps_per_piece);
  w.places_on = step % part.width;
  w.rows_on = step / part.width % part.height;
  w.images_on = step / part.width / part.height;
  return w;
}

void add_pieces(const Conv2dShape& s, const Wgrad& w, const ConvFold* fold, const float* partial,
                const float* scale, bool accumulate, float* dw, Stream stream) {
  const auto narrow = [](int64_t n) { return static_cast<int>(n); };
  const Columns at{w.columns,   fold ? fold->columns : 0, fold ? fold->channels : 0,     narrow(s.s),
                   narrow(s.c), narrow(s.c_parent),       narrow(s.r * s.s * s.c_parent)};
  const int count = w.z.columns * w.columns;
  simt::launch(add, dim3(static_cast<unsigned>((count + lanes - 1) / lanes)), dim3(lanes, adders), 0,
               stream_of(stream), count, w.pieces, at, partial, scale, accumulate, dw);
}

}  // namespace rtfq::kernels::RTFQ_GPU
