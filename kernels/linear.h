#pragma once
// Fully connected layer: forward, data gradient, weight and bias gradient.

#include "kernels/operator.h"

namespace rtfq::kernels {

using LinearShape = rtfq_linear_shape;

/// Throws std::invalid_argument ("[linear] ...") unless all counts are positive and c <= c_parent. All f32.
LinearShape make_linear_shape(int64_t n, int64_t c, int64_t k, int64_t c_parent);

struct LinearForwardArgs {
  const void* x;      ///< [n,c]
  const void* w;      ///< [k, c of c_parent]
  const float* bias;  ///< [k] or nullptr
  void* y;            ///< [n,k], overwritten
  void* workspace;
};

struct LinearDgradArgs {
  const void* g;  ///< [n,k]
  const void* w;
  void* dx;  ///< [n,c], overwritten
  void* workspace;
};

struct LinearWgradArgs {
  const void* x;
  const void* g;
  float* dw;        ///< [k, c of c_parent]
  float* dbias;     ///< [k] or nullptr
  bool accumulate;  ///< for dw and dbias
  void* workspace;
};

RTFQ_CUDA_OPERATOR(LinearForward, "linear.forward", LinearShape, LinearForwardArgs);
RTFQ_CUDA_OPERATOR(LinearDgrad, "linear.dgrad", LinearShape, LinearDgradArgs);
RTFQ_CUDA_OPERATOR(LinearWgrad, "linear.wgrad", LinearShape, LinearWgradArgs);

Cost cost(const LinearForward&, const LinearShape&);
Cost cost(const LinearDgrad&, const LinearShape&);
Cost cost(const LinearWgrad&, const LinearShape&);

}  // namespace rtfq::kernels
