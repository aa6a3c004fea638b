#pragma once
// A convolution of codes, its norm, an optional residual and unsigned LSQ quantizers in one pass, for
// inference: between two convolutions nothing wider than a code is stored.
//
//   y = scale[k] * f32(sum)                       as Conv2dForward on codes
//   z = fma(y - mean[k], factor[k], shift[k])     then + residual: as NormQuantForward
//   codes = quantize(z, step), identity = quantize(z, identity_step) or max(z, 0); or z itself
//
// The two operators one after the other give the same bits; tests hold every implementation to it.

#include "kernels/conv2d.h"
#include "kernels/operator.h"

namespace rtfq::kernels {

/// conv: x u8 or s8, w s8, y_type f32. residual: none, values (f32) or codes. identity values are f32.
struct ConvQuantShape {
  Conv2dShape conv;
  bool quantized;  ///< codes; else z, and the rest is not there
  rtfq_residual residual;
  rtfq_identity identity;
  int32_t qp, identity_qp;  ///< at most 255
  int32_t x_qp = 255;       ///< no u8 code of x is greater; fewer bits may take less time
};

/// z itself, in f32. Throws std::invalid_argument ("[convquant] ...") unless the convolution is one of codes
/// to f32.
ConvQuantShape make_convquant_shape(const Conv2dShape&);
/// Codes. Throws also for bounds outside 1..255 and for a residual that is another norm: compute its z first.
ConvQuantShape make_convquant_shape(const Conv2dShape&, rtfq_residual, rtfq_identity, int32_t qp,
                                    int32_t identity_qp = 255);

/// The same of codes x up to `x_qp` (of u8: s8 ones have no bound but their own). Throws outside 1..255.
ConvQuantShape with_input_bound(ConvQuantShape, int32_t x_qp);

struct ConvQuantArgs {
  const void* x;       ///< codes [n,h,w,c]
  const void* packed;  ///< from pack(), or the KRSC weights themselves where packed_bytes is 0
  void* workspace;
  const float *scale, *mean, *factor, *shift;  ///< [k] each
  const void* residual;                        ///< [n,p,q,k]: f32, or u8 codes; may be y or identity itself
  const float* residual_step;                  ///< [1], RTFQ_RESIDUAL_CODES
  const float* step;                           ///< [1], > 0; not read where z is wanted
  const float* identity_step;                  ///< [1], RTFQ_IDENTITY_CODES
  void* y;                                     ///< [n,p,q,k]: u8 codes, or z in f32
  void* identity;  ///< [n,p,q,k]: u8 codes or f32 values; nullptr with RTFQ_IDENTITY_NONE
  /// Packed weights that are wanted next, of the same operator: read into a cache meanwhile, where that pays.
  const void* next_packed = nullptr;
  std::size_t next_bytes = 0;
};

RTFQ_CUDA_OPERATOR(ConvQuantForward, "convquant.forward", ConvQuantShape, ConvQuantArgs);

Cost cost(const ConvQuantForward&, const ConvQuantShape&);

}  // namespace rtfq::kernels
