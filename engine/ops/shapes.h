#pragma once
// From tensors to kernel shapes, and the gradients that the float and the integer forms of an operation
// share.

#include "engine/ops/ops.h"
#include "kernels/conv2d.h"
#include "kernels/fakequant.h"
#include "kernels/linear.h"

namespace rtfq::ops {

/// f32 operands. Throws std::invalid_argument when the tensors do not fit.
kernels::Conv2dShape conv2d_shape(const Tensor& x, const Tensor& w, int64_t stride);
/// The forward launch: y of the shape's type. `scale`: [k] with codes. At most one of `cache` and
/// `statistics`.
Tensor conv2d_forward(const Tape&, const kernels::Conv2dShape&, const Tensor& x, const Tensor& w,
                      const float* scale, PackedWeights* cache, BatchStatistics* statistics);
/// Adds dL/dw to where w's gradient goes: `scale` * sum over x and g.
void conv2d_wgrad(Tape&, kernels::Conv2dShape, const Tensor& x, const Tensor& g, const Variable& w,
                  const float* scale = nullptr);
/// dL/dx, of g's type, from f32 weights.
void conv2d_dgrad(Tape&, const kernels::Conv2dShape&, const Tensor& g, const Tensor& w, const Variable& x);

kernels::LinearShape linear_shape(const Tensor& x, const Tensor& w, const Tensor& bias);
/// `x`: the layer's input values, f32.
void linear_backward(Tape&, const kernels::LinearShape&, const Tensor& g, const Tensor& x,
                     const Gradient& to_x, const Variable& w, const Variable& bias);

/// Dense tensors in one run; leading slices of a KRSC (or KC) weight with their parent's strides.
kernels::FakeQuantShape fakequant_shape(const Tensor& x, int64_t steps, kernels::QuantBounds);
/// To the gradients of x and of the step.
void fakequant_backward(Tape&, const Tensor& g, const Variable& x, const Variable& step,
                        const kernels::FakeQuantShape&, float grad_scale);

}  // namespace rtfq::ops
