#pragma once
// The two samplers behind augment and prepare: a separable antialiased one and an affine bilinear one.

#include "data/image.h"

namespace rtfq::data {

/// How one axis of an output is cut from an input: the input interval [begin, begin + length) is resized to
/// `full` pixels, of which those from `first` on are taken, `count` of them.
struct Axis {
  double begin = 0, length = 0;
  int full = 0, first = 0, count = 0;
};

enum class Filter {
  bilinear,  ///< a triangle, one output pixel to either side
  bicubic    ///< Keys' cubic with a = -1/2, two output pixels to either side
};

/// Antialiased resampling to [y.count, x.count]: the filter's support grows with the reduction, never below
/// that of a copy, and its weights are renormalised where the image ends. First along rows, then along
/// columns, in fixed point with 22 fractional bits and bytes in between: what Pillow computes, byte for byte.
Image resample(const Image& image, const Axis& y, const Axis& x, Filter filter = Filter::bilinear);

/// Source coordinates of an output position: (xx * x + xy * y + x0, yx * x + yy * y + y0), both in pixels
/// with centres at i + 1/2.
struct Affine {
  double xx = 1, xy = 0, x0 = 0;
  double yx = 0, yy = 1, y0 = 0;
};
/// The map that applies `first`, then `second`.
Affine compose(const Affine& second, const Affine& first);

/// Bilinear samples of `image` at the mapped centres of [height, width] pixels; outside, the nearest edge
/// pixel.
Image sample_affine(const Image& image, const Affine& map, int height, int width);

}  // namespace rtfq::data
