#pragma once
// Which operators plug-ins may implement, and how an operator's arguments become the C struct of
// kernels/plugin.h. A new family is a `to_c` and a line in `for_each_family`.

#include <algorithm>
#include <tuple>

#include "kernels/batchnorm.h"
#include "kernels/conv2d.h"
#include "kernels/elementwise.h"
#include "kernels/fakequant.h"
#include "kernels/linear.h"
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
                        BatchNormReduce, BatchNormApply, ReluForward, ReluBackward, Add>{});
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
inline auto key(const ElementwiseShape& s) {
  return std::tuple{s.count, s.type};
}

}  // namespace rtfq::kernels::plugin
