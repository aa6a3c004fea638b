#pragma once
// Fully connected layer: forward, data gradient, weight and bias gradient.

#include "kernels/operator.h"

namespace rtfq::kernels {

using LinearShape = rtfq_linear_shape;

/// Throws std::invalid_argument ("[linear] ...") unless all counts are positive and c <= c_parent. All f32; `with_types`
/// makes another of it.
LinearShape make_linear_shape(int64_t n, int64_t c, int64_t k, int64_t c_parent);

/// The same problem on other types: all f32, or in the forward pass x u8 or s8 with w s8 and y f32 (codes: exact s32 sums,
/// y = scale[k] * f32(sum) + bias[k], each operation rounded once). Throws std::invalid_argument ("[linear] ...") otherwise,
/// and for sums of codes that could leave 32 bits (from c = 65,794 with u8, 131,072 with s8).
LinearShape with_types(LinearShape, rtfq_dtype x, rtfq_dtype w, rtfq_dtype y);

struct LinearForwardArgs {
  const void* x;      ///< [n,c]
  const void* w;      ///< [k, c of c_parent]
  const float* bias;  ///< [k] or nullptr
  void* y;            ///< [n,k], overwritten
  void* workspace;
  const float* scale = nullptr;  ///< [k] with codes
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

/// All operands f32: every direction's first row of types.
bool all_f32(const LinearShape&);
/// Codes with s8 weights: the forward pass's second row.
bool on_codes(const LinearShape&);

Cost cost(const LinearForward&, const LinearShape&);
Cost cost(const LinearDgrad&, const LinearShape&);
Cost cost(const LinearWgrad&, const LinearShape&);

}  // namespace rtfq::kernels
