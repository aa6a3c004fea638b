#pragma once
// LSQ fake-quant with the straight-through estimator (Esser et al., ICLR 2020, equations 1 to 3 and 5), as
// docs/method.md states it. The numeric contract: r = 1/s rounded once to f32 (per tensor or row), v = x*r in
// f32, code = clamp(rint(v), -qn, qp) with ties to even, value = code*s. Codes are the same bits on every
// backend. Infinities clamp; a NaN takes the lowest code (and, in the gradient, counts as v <= -qn).

#include "kernels/bf16.h"
#include "kernels/f16.h"
#include "kernels/operator.h"

namespace rtfq::kernels {

using FakeQuantShape = rtfq_fakequant_shape;

struct QuantBounds {
  int32_t qn, qp;
};

/// Bounds for 2 to 8 bits: signed [-2^(b-1), 2^(b-1)-1] (symmetric: [-(2^(b-1)-1), 2^(b-1)-1]), unsigned
/// [0, 2^b-1]. Throws std::invalid_argument for other bit-widths.
QuantBounds quant_bounds(int bits, bool is_signed, bool symmetric = false);

/// A dense tensor with one step size. `type`: f32, or bf16 or f16 (x, y, g and dx; arithmetic and steps stay
/// f32, values and gradients are rounded once, to the nearest even, where they are stored).
FakeQuantShape make_fakequant_shape(int64_t count, QuantBounds, rtfq_dtype type = RTFQ_F32);
/// The leading [k, r*s, c] corner of a KRSC weight with c_parent input channels; per_row: one step per k.
FakeQuantShape make_fakequant_weight_shape(int64_t k, int64_t rs, int64_t c, int64_t c_parent, QuantBounds,
                                           bool per_row);
/// Calls f with an element of the shape's type (a float, bf16 or f16), for kernels that are templates over
/// it.
template <class F>
void with_element(const FakeQuantShape& s, F&& f) {
  s.type == RTFQ_F32 ? f(float{}) : s.type == RTFQ_BF16 ? f(bf16{}) : f(f16{});
}
int64_t count(const FakeQuantShape&);  ///< rows * groups * cols
int64_t steps(const FakeQuantShape&);  ///< number of step sizes: rows if per_row, else 1

struct FakeQuantForwardArgs {
  const void* x;      ///< strided, see the shape
  const float* step;  ///< [steps], > 0
  void* y;            ///< dense code*s, or nullptr
  void* codes;        ///< dense, s8 if qn > 0 else u8, or nullptr
};

struct FakeQuantBackwardArgs {
  const void* g;  ///< dL/dy, dense
  const void* x;  ///< what was quantized, strided
  const float* step;
  void* dx;            ///< strided like x: g where -qn < v < qp, else 0; nullptr: not wanted
  bool accumulate_dx;  ///< add to dx instead of overwriting
  float* ds;           ///< [steps]: grad_scale * sum(g*t); always accumulated into; nullptr: not wanted
  float grad_scale;
  void* workspace;
};

/// out[i] = sum |x| over what step i covers, for the initial step 2*mean|x|/sqrt(qp); unsigned codes (qn ==
/// 0) sum max(x,0) instead, because the ReLU before them is left to the clamp.
struct AbsSumArgs {
  const void* x;
  float* out;  ///< [steps], overwritten
  void* workspace;
};

RTFQ_CUDA_OPERATOR(FakeQuantForward, "fakequant.forward", FakeQuantShape, FakeQuantForwardArgs);
RTFQ_CUDA_OPERATOR(FakeQuantBackward, "fakequant.backward", FakeQuantShape, FakeQuantBackwardArgs);
RTFQ_CUDA_OPERATOR(AbsSum, "fakequant.abs_sum", FakeQuantShape, AbsSumArgs);

Cost cost(const FakeQuantForward&, const FakeQuantShape&);
Cost cost(const FakeQuantBackward&, const FakeQuantShape&);
Cost cost(const AbsSum&, const FakeQuantShape&);

}  // namespace rtfq::kernels
