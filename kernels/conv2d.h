#pragma once
// Convolution, its data gradient and its weight gradient: three operators over one shape.

#include "kernels/operator.h"

namespace rtfq::kernels {

using Conv2dShape = rtfq_conv2d_shape;

/// Throws std::invalid_argument ("[conv2d] ...") unless all counts are positive, c <= c_parent and the output is
/// not empty. All operands f32; `with_types` makes another of it.
Conv2dShape make_conv2d_shape(int64_t n, int64_t h, int64_t w, int64_t c, int64_t k, int64_t filter, int64_t stride,
                              int64_t pad, int64_t c_parent);
/// The same problem on other types. Those that go together:
///
/// | operator | x, dx | w | y, g | |
/// |---|---|---|---|---|
/// | all | f32 | f32 | f32 | |
/// | all | bf16 | f32 | bf16 | weights are rounded to bf16 when they are packed; sums in f32 |
/// | forward | u8 or s8 | s8 | f32, bf16 or s32 | codes: exact s32 sums; y = scale[k] * f32(sum), one f32 product |
/// | wgrad | u8 or s8 | f32 | f32 or bf16 | x holds codes; dw (+)= scale * sum |
///
/// Throws std::invalid_argument ("[conv2d] ...") for a combination that is in no row, and for sums of codes that could leave
/// 32 bits (from r*s*c = 65,794 with u8, 131,072 with s8).
Conv2dShape with_types(Conv2dShape, rtfq_dtype x, rtfq_dtype w, rtfq_dtype y);
/// Output height and width: (size + 2 pad - filter) / stride + 1, rounded down.
int64_t output_height(const Conv2dShape&);
int64_t output_width(const Conv2dShape&);
/// Multiply-adds of the forward pass: n p q k r s c. Data and weight gradient need as many each.
int64_t macs(const Conv2dShape&);

struct Conv2dForwardArgs {
  const void* x;       ///< [n,h,w,c]
  const void* packed;  ///< from pack(), or the KRSC weights themselves where packed_bytes is 0
  void* y;             ///< [n,p,q,k], overwritten
  void* workspace;
  const float* scale = nullptr;  ///< [k] with codes (not read where y is s32); nullptr otherwise
};

struct Conv2dDgradArgs {
  const void* g;       ///< dL/dy, [n,p,q,k]
  const void* packed;  ///< from this operator's own pack()
  void* dx;            ///< [n,h,w,c], overwritten
  void* workspace;
};

struct Conv2dWgradArgs {
  const void* x;    ///< [n,h,w,c]
  const void* g;    ///< [n,p,q,k]
  float* dw;        ///< KRSC slice of the parent's gradient (strides from c_parent)
  bool accumulate;  ///< add to dw instead of overwriting it; channels outside the slice stay untouched
  void* workspace;
  /// [1], on every sum, after it: the step of x where x holds codes; nullptr: 1
  const float* scale = nullptr;
};

RTFQ_CUDA_OPERATOR(Conv2dForward, "conv2d.forward", Conv2dShape, Conv2dForwardArgs);
RTFQ_CUDA_OPERATOR(Conv2dDgrad, "conv2d.dgrad", Conv2dShape, Conv2dDgradArgs);
RTFQ_CUDA_OPERATOR(Conv2dWgrad, "conv2d.wgrad", Conv2dShape, Conv2dWgradArgs);

/// Why the operator has no such types, or nullptr: its own rows of the table above.
const char* unsupported_types(const Conv2dForward&, const Conv2dShape&);
const char* unsupported_types(const Conv2dDgrad&, const Conv2dShape&);
const char* unsupported_types(const Conv2dWgrad&, const Conv2dShape&);

Cost cost(const Conv2dForward&, const Conv2dShape&);
Cost cost(const Conv2dDgrad&, const Conv2dShape&);
Cost cost(const Conv2dWgrad&, const Conv2dShape&);

}  // namespace rtfq::kernels
