#include "kernels/cpu/conv2d_onednn_plan.h"

#include "kernels/cpu/plan_cache.h"

namespace rtfq::kernels::onednn {
namespace {

using dnnl::memory;

constexpr auto direct = dnnl::algorithm::convolution_direct;
/// Scales of weights: one for each output channel (the first dimension of a filter).
constexpr int per_output_channel = 1 << 0;

PlanKey key_of(const Conv2dShape& s) {
  return {s.n,
          s.h,
          s.w,
          s.c,
          s.k,
          s.r,
          s.s,
          s.stride,
          s.pad,
          s.c_parent,
          s.x_type * 64 + s.w_type * 8 + s.y_type};
}

/// The type of the kernel's weights: bf16 beside bf16, else what they are stored in.
rtfq_dtype kernel_weights(const Conv2dShape& s) {
  return s.x_type == RTFQ_BF16 ? RTFQ_BF16 : s.w_type;
}

struct Descs {
  memory::desc x, w, y, slice;
  memory::dims strides, pads;
  Descs(const Conv2dShape& s, rtfq_dtype x_type, rtfq_dtype w_type)
      : x(nhwc(s.n, s.h, s.w, s.c, x_type)),
        w({s.k, s.c, s.r, s.s}, data_type(w_type), memory::format_tag::any),
        y(nhwc(s.n, output_height(s), output_width(s), s.k, s.y_type)),
        slice(krsc(s.k, s.r, s.s, s.c, s.c_parent, s.w_type)),
        strides{s.stride, s.stride},
        pads{s.pad, s.pad} {}
};

dnnl::convolution_forward::primitive_desc forward_desc(const Descs& d, const dnnl::primitive_attr& attr) {
  return {engine(), dnnl::prop_kind::forward_training, direct, d.x, d.w, d.y, d.strides, d.pads, d.pads,
          attr};
}

Reorder make_reorder(const memory::desc& from, const memory::desc& to, const dnnl::primitive_attr& attr,
                     std::string* kernel) {
  const dnnl::reorder::primitive_desc desc(engine(), from, engine(), to, attr);
  *kernel += std::string(", weights ") + desc.impl_info_str();
  return {dnnl::reorder(desc), desc.scratchpad_desc()};
}

template <class Desc>
Conv2dPlan plan_of(const Descs& d, const Desc& desc, const memory::desc& weights,
                   const dnnl::primitive& convolution) {
  Conv2dPlan plan;
  plan.x = d.x;
  plan.w = weights;
  plan.y = d.y;
  plan.slice = d.slice;
  plan.scratch = desc.scratchpad_desc();
  plan.convolution = convolution;
  plan.kernel = desc.impl_info_str();
  return plan;
}

/// `make()` through the direction's cache.
template <class Make>
std::shared_ptr<const Conv2dPlan> cached(PlanCache<Conv2dPlan>& cache, const char* op, const Conv2dShape& s,
                                         const Make& make) {
  try {
    return cache.get(key_of(s), make);
  } catch (const dnnl::error& error) {
    rethrow(op, error);
  }
}

}  // namespace

std::shared_ptr<const Conv2dPlan> conv2d_forward_plan(const Conv2dShape& s) {
  static PlanCache<Conv2dPlan> cache;
  return cached(cache, Conv2dForward::name, s, [&] {
    const Descs d(s, s.x_type, kernel_weights(s));
    const bool scaled = s.w_type == RTFQ_S8 && s.y_type != RTFQ_S32;
    auto attr = attributes();
    if (scaled) attr.set_scales_mask(DNNL_ARG_WEIGHTS, per_output_channel);
    const auto desc = forward_desc(d, attr);
    Conv2dPlan plan = plan_of(d, desc, desc.weights_desc(), dnnl::convolution_forward(desc));
    plan.scaled = scaled;
    plan.pack = make_reorder(plan.slice, plan.w, attributes(), &plan.kernel);
    return plan;
  });
}

std::shared_ptr<const Conv2dPlan> conv2d_dgrad_plan(const Conv2dShape& s) {
  static PlanCache<Conv2dPlan> cache;
  return cached(cache, Conv2dDgrad::name, s, [&] {
    const Descs d(s, s.x_type, kernel_weights(s));
    const dnnl::convolution_backward_data::primitive_desc desc(engine(), direct, d.x, d.w, d.y, d.strides,
                                                               d.pads, d.pads, forward_desc(d, attributes()),
                                                               attributes());
    Conv2dPlan plan = plan_of(d, desc, desc.weights_desc(), dnnl::convolution_backward_data(desc));
    plan.pack = make_reorder(plan.slice, plan.w, attributes(), &plan.kernel);
    return plan;
  });
}

std::shared_ptr<const Conv2dPlan> conv2d_wgrad_plan(const Conv2dShape& s) {
  static PlanCache<Conv2dPlan> cache;
  return cached(cache, Conv2dWgrad::name, s, [&] {
    // x in the type of g: codes are converted. The gradient is f32 whatever they are, though the hint's
    // weights are not.
    const Descs d(s, s.y_type, RTFQ_F32), hint(s, s.y_type, s.y_type);
    const dnnl::convolution_backward_weights::primitive_desc desc(
        engine(), direct, d.x, d.w, d.y, d.strides, d.pads, d.pads, forward_desc(hint, attributes()),
        attributes());
    Conv2dPlan plan = plan_of(d, desc, desc.diff_weights_desc(), dnnl::convolution_backward_weights(desc));
    const auto with_scale = [](bool accumulate) {
      auto attr = attributes(accumulate);
      attr.set_scales_mask(DNNL_ARG_SRC, 0);
      return attr;
    };
    plan.store = make_reorder(plan.w, plan.slice, with_scale(false), &plan.kernel);
    plan.add = make_reorder(plan.w, plan.slice, with_scale(true), &plan.kernel);
    return plan;
  });
}

}  // namespace rtfq::kernels::onednn
