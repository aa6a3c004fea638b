#pragma once
// From decoded images to a network's input: normalization and resizing of a batch.

#include "kernels/operator.h"

namespace rtfq::kernels {

using ResizeShape = rtfq_resize_shape;
/// Throws std::invalid_argument ("[resize] ...") unless all sizes are positive.
ResizeShape make_resize_shape(int64_t n, int64_t h, int64_t w, int64_t c, int64_t p, int64_t q, bool antialias = true);

/// y = (x/255 - mean[c]) / deviation[c], computed as fma(x, 1/(255*deviation), -mean/deviation) with both factors
/// rounded once to f32.
struct NormalizeArgs {
  const uint8_t* x;        ///< [n,h,w,c]
  const float* mean;       ///< [c]
  const float* deviation;  ///< [c], > 0
  float* y;
};

/// Bilinear resize with half-pixel centres; with antialias the triangle filter widens with the scale when shrinking (as
/// Pillow's and torchvision's do), weights normalized to one, borders clipped. Separable: rows first, then columns.
struct ResizeArgs {
  const float* x;  ///< [n,h,w,c]
  float* y;        ///< [n,p,q,c]
  void* workspace;
};

RTFQ_CUDA_OPERATOR(Normalize, "normalize", ResizeShape, NormalizeArgs);  // uses n, h, w, c only
RTFQ_CUDA_OPERATOR(Resize, "resize", ResizeShape, ResizeArgs);

Cost cost(const Normalize&, const ResizeShape&);
Cost cost(const Resize&, const ResizeShape&);

}  // namespace rtfq::kernels
