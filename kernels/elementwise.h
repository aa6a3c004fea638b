#pragma once
// ReLU, addition, accumulation.

#include "kernels/operator.h"

namespace rtfq::kernels {

using ElementwiseShape = rtfq_elementwise_shape;
ElementwiseShape make_elementwise_shape(int64_t count);  ///< f32; throws if negative

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

RTFQ_CUDA_OPERATOR(ReluForward, "relu.forward", ElementwiseShape, ReluForwardArgs);
RTFQ_CUDA_OPERATOR(ReluBackward, "relu.backward", ElementwiseShape, ReluBackwardArgs);
RTFQ_CUDA_OPERATOR(Add, "add", ElementwiseShape, AddArgs);

Cost cost(const ReluForward&, const ElementwiseShape&);
Cost cost(const ReluBackward&, const ElementwiseShape&);
Cost cost(const Add&, const ElementwiseShape&);

}  // namespace rtfq::kernels
