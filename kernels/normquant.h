#pragma once
// What stands between two quantized convolutions, in as few passes over memory as it needs: batch normalization, the
// residual sum and unsigned LSQ quantizers. The ReLU needs no work: an unsigned quantizer clamps at zero and passes no
// gradient there.
//
//   z = norm(x) + residual          norm as kernels/batchnorm.h, with given statistics (BatchNormStatistics makes them)
//   codes = quantize(z, step)       as kernels/fakequant.h, in [0, qp]
//   identity = quantize(z, identity_step) in [0, identity_qp], or max(z, 0)
//
// The unfused operators in the same order are the reference: in f32 the codes are the same bits. z itself is never stored:
// the gradients compute it again, in the same f32 expression, from x and the residual. With bf16 operands all arithmetic is
// f32; only what is stored is rounded (to nearest even). Bytes an element, forward: x and the residual in, one byte for each
// code out; reduce: x, residual and gradients in, with a residual g_z out; apply: x and one gradient in, dx out.

#include "kernels/batchnorm.h"
#include "kernels/operator.h"

namespace rtfq::kernels {

using NormQuantShape = rtfq_normquant_shape;

/// Throws std::invalid_argument ("[normquant] ...") for bounds outside 1..255.
NormQuantShape make_normquant_shape(const BatchNormShape&, rtfq_residual, rtfq_identity, int32_t qp,
                                    int32_t identity_qp = 255);

/// A convolution's result and how it is normalized.
struct NormQuantInput {
  const void* x;          ///< [n, hw, c] of norm.type
  const float* mean;      ///< [segments][c]
  const float* variance;  ///< [segments][c], biased
  const float* scale[RTFQ_MAX_SEGMENTS];  ///< [c] each
  const float* shift[RTFQ_MAX_SEGMENTS];
};

/// What z is computed from, in both directions.
struct NormQuantOperands {
  NormQuantInput main;
  NormQuantInput other;        ///< RTFQ_RESIDUAL_NORM
  const void* residual;        ///< RTFQ_RESIDUAL_VALUES: norm.type; RTFQ_RESIDUAL_CODES: u8
  const float* residual_step;  ///< [1], RTFQ_RESIDUAL_CODES
  const float* step;           ///< [1], > 0
  const float* identity_step;  ///< [1], RTFQ_IDENTITY_CODES
};

struct NormQuantForwardArgs {
  NormQuantOperands in;
  uint8_t* codes;  ///< [n, hw, c]
  void* identity;  ///< u8 codes or values of norm.type; nullptr with RTFQ_IDENTITY_NONE
};

/// From the gradients with respect to codes*step and to the identity's values: g_z, the gradients of both step sizes, and
/// per segment and channel the sums that BatchNormReduce gives for each norm.
struct NormQuantReduceArgs {
  NormQuantOperands in;
  const void* g_codes;     ///< [n, hw, c] of norm.type; nullptr: zero
  const void* g_identity;  ///< the same; nullptr: zero or not there
  void* g_z;               ///< of norm.type, g where each quantizer lets it through, rounded once; may be g_codes or
                           ///< g_identity; nullptr where nobody wants it stored (no residual)
  float* sum_g;            ///< [segments][c], of g_z as it is stored (f32 where it is not), overwritten
  float* sum_gx;           ///< sum g_z * xhat
  float* other_sum_gx;     ///< RTFQ_RESIDUAL_NORM: with the other's xhat (its sum_g is the same)
  float* ds;               ///< [1] += grad_scale * sum(g_codes * t), kernels/fakequant.h; nullptr: not wanted
  float* identity_ds;      ///< [1], RTFQ_IDENTITY_CODES; nullptr: not wanted
  float grad_scale, identity_grad_scale;
  void* workspace;
};

/// dx = scale * inv_std * (g_z - sum_g/m - xhat * sum_gx/m) for the main norm and, with RTFQ_RESIDUAL_NORM, the other's.
struct NormQuantApplyArgs {
  NormQuantOperands in;
  const void* g_z;      ///< what reduce stored; nullptr (no residual): made again from g_codes and g_identity
  const void* g_codes;  ///< read only where g_z is null
  const void* g_identity;
  const float* sum_g;
  const float* sum_gx;
  const float* other_sum_gx;
  float counts[RTFQ_MAX_SEGMENTS];  ///< values a channel has in each segment, over all ranks
  void* dx;                         ///< of norm.type; may be g_codes
  void* other_dx;                   ///< RTFQ_RESIDUAL_NORM; may be g_z
};

RTFQ_CUDA_OPERATOR(NormQuantForward, "normquant.forward", NormQuantShape, NormQuantForwardArgs);
RTFQ_CUDA_OPERATOR(NormQuantReduce, "normquant.reduce", NormQuantShape, NormQuantReduceArgs);
RTFQ_CUDA_OPERATOR(NormQuantApply, "normquant.apply", NormQuantShape, NormQuantApplyArgs);

Cost cost(const NormQuantForward&, const NormQuantShape&);
Cost cost(const NormQuantReduce&, const NormQuantShape&);
Cost cost(const NormQuantApply&, const NormQuantShape&);

}  // namespace rtfq::kernels
