#pragma once
// Operations on integers: a fake-quantized tensor is codes times a step, and convolutions and linear layers
// compute on the codes, exactly. Gradients are with respect to the values codes*step, through the
// straight-through estimator, and have the type (f32 or bf16) of the activations that were quantized. The
// tape keeps codes, a byte each.

#include <optional>

#include "engine/ops/ops.h"

namespace rtfq::ops {

/// A step size as a quantizer uses it.
struct LearnedStep {
  Variable step;  ///< [1], or one for each row of a weight
  kernels::QuantBounds bounds;
  float grad_scale = 0;  ///< method.md's 1/sqrt(N*qp)
};

/// A quantized activation: value = code * step, one step. The gradient of `codes` is the values'.
struct Quantized {
  Variable codes;  ///< u8, or s8 for the image
  Tensor step;     ///< [1]
};
/// A quantized weight: value = code * step of its row. The gradient of `codes` is the values'. Who needs the
/// values makes them (dequantize()), so that the tape keeps a byte for each.
struct QuantizedWeight {
  Variable codes;  ///< s8, dense
  Tensor step;     ///< [1] or [k]

  Tensor dequantize() const { return QTensor{codes.data, step, 8, true}.dequantize(); }
};

/// Codes of an activation, f32 or bf16.
Quantized quantize(Tape&, const Variable& x, const LearnedStep&);
/// Codes of a weight (a leading slice of a parent, or dense).
QuantizedWeight quantize_weight(Tape&, const Variable& w, const LearnedStep&);

/// As ops::conv2d, on codes: exact sums times one f32 factor for each output channel, the product of both
/// steps. The result is `type`.
Variable conv2d(Tape&, const Quantized& x, const QuantizedWeight& w, int64_t stride, DType type,
                PackedWeights* cache = nullptr);
Variable conv2d(Tape&, const Quantized& x, const QuantizedWeight& w, int64_t stride, DType type,
                BatchStatistics&);
/// x [n,c] u8 (its gradient f32) * w [k,c]^T + bias -> f32 [n,k]. `values`: what x's codes stand for, f32
/// [n,c].
Variable linear(Tape&, const Quantized& x, const Tensor& values, const QuantizedWeight& w,
                const Variable& bias);
/// Means of the values over h*w, f32 [n,c], from exact sums of codes.
Variable average_pool(Tape&, const Quantized& x, DType gradient_type);

/// What is added to a normalized convolution: at most one of these is there.
struct ResidualTerm {
  Variable values;  ///< [n,h,w,c] of the activations' type
  Quantized codes;
  std::optional<NormInput> norm;  ///< a projection, normalized by itself
};
/// What is read of the sum besides its codes.
enum class IdentityForm { none, codes, values };

struct NormQuantResult {
  Quantized codes;
  Quantized identity;        ///< IdentityForm::codes
  Variable identity_values;  ///< IdentityForm::values: max(z, 0)
};
/// Batch normalization, residual sum and unsigned quantizers in as few passes over memory as they need
/// (kernels/normquant.h). `identity` is read with IdentityForm::codes.
NormQuantResult norm_quant(Tape&, const NormInput&, const ResidualTerm&, const LearnedStep& codes,
                           IdentityForm, const LearnedStep* identity);
/// z = norm(x) + residual alone, not differentiable: what initial step sizes are taken from.
Tensor norm_sum(Stream, const NormInput&, const ResidualTerm&);

}  // namespace rtfq::ops
