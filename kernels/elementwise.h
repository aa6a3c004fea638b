#pragma once
// ReLU, addition, accumulation, and conversion between types. Operands are f32, or bf16 with f32 arithmetic and results
// rounded to the nearest even.

#include "kernels/operator.h"

namespace rtfq::kernels {

using ElementwiseShape = rtfq_elementwise_shape;
/// Throws std::invalid_argument ("[elementwise] ...") for a negative count or a type beside f32 and bf16.
ElementwiseShape make_elementwise_shape(int64_t count, rtfq_dtype type = RTFQ_F32);

using ConvertShape = rtfq_convert_shape;
/// Throws std::invalid_argument ("[convert] ...") unless `to` is f32 or bf16 and `from` one of them or a code, u8 or s8.
ConvertShape make_convert_shape(int64_t count, rtfq_dtype from, rtfq_dtype to);

/// y = max(x, 0); a NaN stays NaN, so that the trainer's check of the loss sees it.
struct ReluForwardArgs {
  const void* x;
  void* y;  ///< may be x
};
/// dx = g where y > 0, else 0.
struct ReluBackwardArgs {
  const void* g;
  const void* y;  ///< the forward result
  void* dx;       ///< may be g
};
/// y = a + b.
struct AddArgs {
  const void* a;
  const void* b;
  void* y;  ///< may be a or b
};

/// y = x in another type: exact, but for f32 to bf16, which rounds to the nearest even.
struct ConvertArgs {
  const void* x;
  void* y;  ///< not x
};

RTFQ_CUDA_OPERATOR(ReluForward, "relu.forward", ElementwiseShape, ReluForwardArgs);
RTFQ_CUDA_OPERATOR(ReluBackward, "relu.backward", ElementwiseShape, ReluBackwardArgs);
RTFQ_CUDA_OPERATOR(Add, "add", ElementwiseShape, AddArgs);
RTFQ_CUDA_OPERATOR(Convert, "convert", ConvertShape, ConvertArgs);

Cost cost(const ReluForward&, const ElementwiseShape&);
Cost cost(const ReluBackward&, const ElementwiseShape&);
Cost cost(const Add&, const ElementwiseShape&);
Cost cost(const Convert&, const ConvertShape&);

}  // namespace rtfq::kernels
