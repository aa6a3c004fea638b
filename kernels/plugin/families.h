#pragma once
// Which operators plug-ins may implement, and how an operator's arguments become the C struct of
// kernels/plugin.h. A new family is a `to_c` and a line in `for_each_family`.

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/batchnorm.h"
#include "kernels/conv2d.h"
#include "kernels/convquant.h"
#include "kernels/elementwise.h"
#include "kernels/fakequant.h"
#include "kernels/int4.h"
#include "kernels/linear.h"
#include "kernels/normquant.h"
#include "kernels/plugin.h"

namespace rtfq::kernels::plugin {

// The last parameter is the workspace of operators whose own arguments have none; others pass theirs.
inline auto to_c(const FakeQuantForwardArgs& a, void* workspace) {
  return rtfq_fakequant_forward_args{a.x, a.step, a.y, a.codes, workspace};
}
inline auto to_c(const FakeQuantBackwardArgs& a, void*) {
  return rtfq_fakequant_backward_args{a.g,  a.x,          a.step,     a.dx, a.accumulate_dx,
                                      a.ds, a.grad_scale, a.workspace};
}
inline auto to_c(const AbsSumArgs& a, void*) {
  return rtfq_fakequant_abs_sum_args{a.x, a.out, a.workspace};
}
inline auto to_c(const Conv2dForwardArgs& a, void*) {
  return rtfq_conv2d_forward_args{a.x, a.packed, a.y, a.workspace, a.scale};
}
inline auto to_c(const Conv2dDgradArgs& a, void*) {
  return rtfq_conv2d_dgrad_args{a.g, a.packed, a.dx, a.workspace};
}
inline auto to_c(const Conv2dWgradArgs& a, void*) {
  return rtfq_conv2d_wgrad_args{a.x, a.g, a.dw, a.accumulate, a.workspace, a.scale};
}
inline auto to_c(const LinearForwardArgs& a, void*) {
  return rtfq_linear_forward_args{a.x, a.w, a.bias, a.y, a.workspace, a.scale};
}
inline auto to_c(const LinearDgradArgs& a, void*) {
  return rtfq_linear_dgrad_args{a.g, a.w, a.dx, a.workspace};
}
inline auto to_c(const LinearWgradArgs& a, void*) {
  return rtfq_linear_wgrad_args{a.x, a.g, a.dw, a.dbias, a.accumulate, a.workspace};
}
inline auto to_c(const BatchNormStatisticsArgs& a, void*) {
  return rtfq_batchnorm_statistics_args{a.x, a.mean, a.variance, a.workspace};
}
inline auto to_c(const BatchNormNormalizeArgs& a, void* workspace) {
  rtfq_batchnorm_normalize_args c{a.x, a.mean, a.variance, {}, {}, a.y, a.relu, workspace};
  std::copy(std::begin(a.scale), std::end(a.scale), c.scale);
  std::copy(std::begin(a.shift), std::end(a.shift), c.shift);
  return c;
}
inline auto to_c(const BatchNormReduceArgs& a, void*) {
  return rtfq_batchnorm_reduce_args{a.x, a.g, a.mean, a.variance, a.sum_g, a.sum_gx, a.workspace};
}
inline auto to_c(const BatchNormApplyArgs& a, void* workspace) {
  rtfq_batchnorm_apply_args c{a.x, a.g, a.mean, a.variance, a.sum_g, a.sum_gx, {}, {}, a.dx, workspace};
  std::copy(std::begin(a.scale), std::end(a.scale), c.scale);
  std::copy(std::begin(a.counts), std::end(a.counts), c.counts);
  return c;
}
inline rtfq_normquant_input to_c(const NormQuantInput& from) {
  rtfq_normquant_input c{from.x, from.mean, from.variance, {}, {}};
  std::copy(std::begin(from.scale), std::end(from.scale), c.scale);
  std::copy(std::begin(from.shift), std::end(from.shift), c.shift);
  return c;
}
inline rtfq_normquant_operands to_c(const NormQuantOperands& in) {
  return {to_c(in.main), to_c(in.other), in.residual, in.residual_step, in.step, in.identity_step};
}
inline auto to_c(const NormQuantForwardArgs& a, void* workspace) {
  return rtfq_normquant_forward_args{to_c(a.in), a.codes, a.identity, workspace};
}
inline auto to_c(const NormQuantReduceArgs& a, void*) {
  return rtfq_normquant_reduce_args{to_c(a.in),    a.g_codes,    a.g_identity,          a.g_z,
                                    a.sum_g,       a.sum_gx,     a.other_sum_gx,        a.ds,
                                    a.identity_ds, a.grad_scale, a.identity_grad_scale, a.workspace};
}
inline auto to_c(const NormQuantApplyArgs& a, void* workspace) {
  rtfq_normquant_apply_args c{to_c(a.in),     a.g_z, a.g_codes, a.g_identity, a.sum_g,  a.sum_gx,
                              a.other_sum_gx, {},    a.dx,      a.other_dx,   workspace};
  std::copy(std::begin(a.counts), std::end(a.counts), c.counts);
  return c;
}
inline auto to_c(const ConvQuantArgs& a, void*) {
  return rtfq_convquant_forward_args{a.x,     a.packed,   a.scale,         a.mean, a.factor,
                                     a.shift, a.residual, a.residual_step, a.step, a.identity_step,
                                     a.y,     a.identity, a.workspace};
}
inline auto to_c(const Int4QuantizeArgs& a, void*) {
  return rtfq_int4_quantize_args{a.x, a.step, a.codes, a.workspace};
}
inline auto to_c(const Conv2dInt4Args& a, void*) {
  return rtfq_int4_conv2d_args{a.x, a.weights, a.y, a.scale, a.workspace};
}
inline auto to_c(const ReluForwardArgs& a, void* workspace) {
  return rtfq_relu_forward_args{a.x, a.y, workspace};
}
inline auto to_c(const ReluBackwardArgs& a, void* workspace) {
  return rtfq_relu_backward_args{a.g, a.y, a.dx, workspace};
}
inline auto to_c(const AddArgs& a, void* workspace) {
  return rtfq_add_args{a.a, a.b, a.y, workspace};
}

/// Calls f(Op{}) for every operator that plug-ins may implement.
template <class F>
void for_each_family(F&& f) {
  std::apply([&](auto... op) { (f(op), ...); },
             std::tuple<FakeQuantForward, FakeQuantBackward, AbsSum, Conv2dForward, Conv2dDgrad, Conv2dWgrad,
                        LinearForward, LinearDgrad, LinearWgrad, BatchNormStatistics, BatchNormNormalize,
                        BatchNormReduce, BatchNormApply, NormQuantForward, NormQuantReduce, NormQuantApply,
                        ConvQuantForward, Int4Quantize, Conv2dInt4, ReluForward, ReluBackward, Add>{});
}

/// A shape as the plug-in is told it: the C struct of kernels/shapes.h, or of kernels/plugin.h.
template <class Shape>
const Shape& shape_to_c(const Shape& s) {
  return s;
}
inline rtfq_convquant_shape shape_to_c(const ConvQuantShape& s) {
  return {s.conv, s.quantized, s.residual, s.identity, s.qp, s.identity_qp, s.x_qp};
}

/// The operand whose codes lie two a byte; nullptr: a family of one code a byte.
inline const char* nibble_operand(const std::string& family) {
  return family == Int4Quantize::name ? "codes" : family == Conv2dInt4::name ? "weights" : nullptr;
}

// What tells shapes apart, without the padding between members.
inline auto key(const FakeQuantShape& s) {
  return std::tuple{s.rows, s.groups, s.cols, s.row_stride, s.group_stride, s.qn, s.qp, s.per_row, s.type};
}
inline auto key(const Conv2dShape& s) {
  return std::tuple{s.n,      s.h,   s.w,        s.c,      s.k,      s.r,     s.s,
                    s.stride, s.pad, s.c_parent, s.x_type, s.w_type, s.y_type};
}
inline auto key(const LinearShape& s) {
  return std::tuple{s.n, s.c, s.k, s.c_parent, s.x_type, s.w_type, s.y_type};
}
inline auto key(const BatchNormShape& s) {
  std::vector<int64_t> ends(s.segment_end, s.segment_end + s.segments);
  return std::tuple{s.n, s.hw, s.c, std::move(ends), s.epsilon, s.type};
}
inline auto key(const NormQuantShape& s) {
  return std::tuple{key(s.norm), s.residual, s.identity, s.qp, s.identity_qp};
}
inline auto key(const rtfq_convquant_shape& s) {
  return std::tuple{key(s.conv), s.quantized, s.residual, s.identity, s.qp, s.identity_qp, s.x_qp};
}
inline auto key(const ElementwiseShape& s) {
  return std::tuple{s.count, s.type};
}

}  // namespace rtfq::kernels::plugin
