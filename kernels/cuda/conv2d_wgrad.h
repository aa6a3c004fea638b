#pragma once
// The weight gradient as a product of output channels by taps and their input channels, summed over the
// pixels of the batch: how the pixels are cut among blocks, and the launch that adds their partial sums.

#include "kernels/cuda/conv2d_geometry.h"

namespace rtfq::kernels::RTFQ_GPU {

/// Where the product's operands lie, and how the pixels are cut.
struct Wgrad {
  ConvProduct z;  ///< the forward pass whose weights these are
  int columns;    ///< taps times their channels
  int pixels, steps_per_piece, pieces;
  int images_on, rows_on, places_on;  ///< a step's pixels further
  std::size_t partial_bytes() const {
    return static_cast<std::size_t>(z.columns) * static_cast<std::size_t>(columns) *
           static_cast<std::size_t>(pieces) * sizeof(float);
  }
};

/// Pieces such that `blocks` blocks have work, `tiles` tiles of the product being cut in each; of 8 steps of
/// `step` pixels or more. A piece's partial sums are [columns of z][columns]. Depends on the shape alone.
Wgrad cut_pixels(const ConvProduct& z, int step, int64_t tiles, int64_t blocks);
int wgrad_columns(const ConvProduct& z);

/// A pixel of the output, as the thread that stages its row knows it.
struct Pixel {
  int image, p, q;

  __device__ __forceinline__ void start(const Wgrad& w, int at) {
    const ConvPart& part = w.z.part[0];
    const int line = at / part.width;
    image = line / part.height;
    p = line - image * part.height;
    q = at - line * part.width;
  }
  /// A step further.
  __device__ __forceinline__ void advance(const Wgrad& w) {
    const ConvPart& part = w.z.part[0];
    q += w.places_on;
    if (q >= part.width) {
      q -= part.width;
      ++p;
    }
    p += w.rows_on;
    if (p >= part.height) {
      p -= part.height;
      ++image;
    }
    image += w.images_on;
  }
};

/// Tap and channel of a column of the product; r is -1 beyond the last one.
__device__ __forceinline__ ConvTap column_tap(const Wgrad& w, int column) {
  const int taps = column / w.z.channels, row = taps / w.z.part[0].taps_w;
  return {column < w.columns ? row : -1, taps - row * w.z.part[0].taps_w, column - taps * w.z.channels};
}

/// dw (+)= scale * (the pieces' sums), into the parent's slice; `fold`: the image that x was folded into, or
/// null.
void add_pieces(const Conv2dShape&, const Wgrad&, const ConvFold* fold, const float* partial,
                const float* scale, bool accumulate, float* dw, Stream);

}  // namespace rtfq::kernels::RTFQ_GPU
