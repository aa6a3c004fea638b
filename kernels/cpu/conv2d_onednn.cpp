// With oneDNN 3.2 every shape of a ResNet, also with one or three input channels and with channel counts that
// are only multiples of 8, gets a jit kernel, and so do the reorders from and to strided slices (20 to 150
// GB/s, 0.2 to 0.6 ms for the largest layer of a ResNet-18); tests/kernels/conv2d_onednn.cpp keeps watch.
// Measured on two Zen 4 cores, AVX-512, f32: 3x3 layers of a ResNet-18 at 112 pixels, batch 64, forward and
// data gradient 210 to 315 GFLOP/s, weight gradient 180 to 245. The data gradient of a stem (few input
// channels) is slow, 10 to 50, but no training asks for it.
#include "kernels/cpu/conv2d_onednn.h"

#include <algorithm>

#include "kernels/cpu/onednn.h"
#include "kernels/cpu/plan_cache.h"

namespace rtfq::kernels::onednn {
namespace {

using dnnl::memory;

constexpr auto direct = dnnl::algorithm::convolution_direct;

PlanKey key_of(const Conv2dShape& s) {
  return {s.n, s.h, s.w, s.c, s.k, s.r, s.s, s.stride, s.pad, s.c_parent, 0, 0};
}

struct Descs {
  memory::desc x, w, y, slice;
  memory::dims strides, pads;
  explicit Descs(const Conv2dShape& s)
      : x(nhwc(s.n, s.h, s.w, s.c)),
        w({s.k, s.c, s.r, s.s}, memory::data_type::f32, memory::format_tag::any),
        y(nhwc(s.n, output_height(s), output_width(s), s.k)),
        slice(krsc(s.k, s.r, s.s, s.c, s.c_parent)),
        strides{s.stride, s.stride},
        pads{s.pad, s.pad} {}
};

dnnl::convolution_forward::primitive_desc forward_desc(const Descs& d) {
  return {engine(),    dnnl::prop_kind::forward_training, direct, d.x, d.w, d.y, d.strides, d.pads, d.pads,
          attributes()};
}

/// The descriptors of our own operands, one convolution and the reorders between its weights and the slice.
struct Plan {
  memory::desc x, w, y, slice, scratch;
  dnnl::primitive convolution;
  dnnl::reorder pack, store, add;
  memory::desc pack_scratch, store_scratch, add_scratch;
  std::string kernel;
};

dnnl::reorder make_reorder(const memory::desc& from, const memory::desc& to, bool accumulate,
                           memory::desc* scratch, std::string* kernel) {
  const dnnl::reorder::primitive_desc desc(engine(), from, engine(), to, attributes(accumulate));
  *scratch = desc.scratchpad_desc();
  *kernel += std::string(", weights ") + desc.impl_info_str();
  return dnnl::reorder(desc);
}

template <class Desc>
Plan plan_of(const Descs& d, const Desc& desc, const memory::desc& weights,
             const dnnl::primitive& convolution) {
  Plan plan;
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
std::shared_ptr<const Plan> cached(PlanCache<Plan>& cache, const char* op, const Conv2dShape& s,
                                   const Make& make) {
  try {
    return cache.get(key_of(s), make);
  } catch (const dnnl::error& error) {
    rethrow(op, error);
  }
}

std::shared_ptr<const Plan> forward_plan(const Conv2dShape& s) {
  static PlanCache<Plan> cache;
  return cached(cache, Conv2dForward::name, s, [&] {
    const Descs d(s);
    const auto desc = forward_desc(d);
    Plan plan = plan_of(d, desc, desc.weights_desc(), dnnl::convolution_forward(desc));
    plan.pack = make_reorder(plan.slice, plan.w, false, &plan.pack_scratch, &plan.kernel);
    return plan;
  });
}

std::shared_ptr<const Plan> dgrad_plan(const Conv2dShape& s) {
  static PlanCache<Plan> cache;
  return cached(cache, Conv2dDgrad::name, s, [&] {
    const Descs d(s);
    const dnnl::convolution_backward_data::primitive_desc desc(engine(), direct, d.x, d.w, d.y, d.strides,
                                                               d.pads, d.pads, forward_desc(d), attributes());
    Plan plan = plan_of(d, desc, desc.weights_desc(), dnnl::convolution_backward_data(desc));
    plan.pack = make_reorder(plan.slice, plan.w, false, &plan.pack_scratch, &plan.kernel);
    return plan;
  });
}

std::shared_ptr<const Plan> wgrad_plan(const Conv2dShape& s) {
  static PlanCache<Plan> cache;
  return cached(cache, Conv2dWgrad::name, s, [&] {
    const Descs d(s);
    const dnnl::convolution_backward_weights::primitive_desc desc(
        engine(), direct, d.x, d.w, d.y, d.strides, d.pads, d.pads, forward_desc(d), attributes());
    Plan plan = plan_of(d, desc, desc.diff_weights_desc(), dnnl::convolution_backward_weights(desc));
    plan.store = make_reorder(plan.w, plan.slice, false, &plan.store_scratch, &plan.kernel);
    plan.add = make_reorder(plan.w, plan.slice, true, &plan.add_scratch, &plan.kernel);
    return plan;
  });
}

/// Packed weights, and behind them the scratch memory of packing.
std::size_t packed_size(const Plan& plan) {
  return align64(plan.w.get_size()) + plan.pack_scratch.get_size();
}

void pack(const Plan& plan, const void* weights, void* packed) {
  void* scratch = static_cast<std::byte*>(packed) + align64(plan.w.get_size());
  plan.pack.execute(stream(), {{DNNL_ARG_FROM, wrap(plan.slice, weights)},
                               {DNNL_ARG_TO, wrap(plan.w, packed)},
                               {DNNL_ARG_SCRATCHPAD, wrap(plan.pack_scratch, scratch)}});
}

/// The weight gradient's workspace: scratch of whichever primitive runs, then the gradient in the library's
/// layout.
std::size_t wgrad_scratch(const Plan& plan) {
  return align64(
      std::max({plan.scratch.get_size(), plan.store_scratch.get_size(), plan.add_scratch.get_size()}));
}

}  // namespace

const char* conv2d_unsupported(const Conv2dShape& s) {
  if (s.x_type != RTFQ_F32 || s.w_type != RTFQ_F32 || s.y_type != RTFQ_F32) return "takes f32 operands only";
  if (s.pad >= s.r || s.pad >= s.s)
    return "padding as wide as the filter runs in the library's reference code";
  return nullptr;
}

void conv2d_forward(const Conv2dShape& s, const Conv2dForwardArgs& a, Stream) {
  const auto plan = forward_plan(s);
  plan->convolution.execute(stream(), {{DNNL_ARG_SRC, wrap(plan->x, a.x)},
                                       {DNNL_ARG_WEIGHTS, wrap(plan->w, a.packed)},
                                       {DNNL_ARG_DST, wrap(plan->y, a.y)},
                                       {DNNL_ARG_SCRATCHPAD, wrap(plan->scratch, a.workspace)}});
}
std::size_t conv2d_forward_workspace(const Conv2dShape& s) {
  return forward_plan(s)->scratch.get_size();
}
std::size_t conv2d_forward_packed(const Conv2dShape& s) {
  return packed_size(*forward_plan(s));
}
void conv2d_forward_pack(const Conv2dShape& s, const void* weights, void* packed, Stream) {
  pack(*forward_plan(s), weights, packed);
}
std::string conv2d_forward_kernel(const Conv2dShape& s) {
  return forward_plan(s)->kernel;
}

void conv2d_dgrad(const Conv2dShape& s, const Conv2dDgradArgs& a, Stream) {
  const auto plan = dgrad_plan(s);
  plan->convolution.execute(stream(), {{DNNL_ARG_DIFF_DST, wrap(plan->y, a.g)},
                                       {DNNL_ARG_WEIGHTS, wrap(plan->w, a.packed)},
                                       {DNNL_ARG_DIFF_SRC, wrap(plan->x, a.dx)},
                                       {DNNL_ARG_SCRATCHPAD, wrap(plan->scratch, a.workspace)}});
}
std::size_t conv2d_dgrad_workspace(const Conv2dShape& s) {
  return dgrad_plan(s)->scratch.get_size();
}
std::size_t conv2d_dgrad_packed(const Conv2dShape& s) {
  return packed_size(*dgrad_plan(s));
}
void conv2d_dgrad_pack(const Conv2dShape& s, const void* weights, void* packed, Stream) {
  pack(*dgrad_plan(s), weights, packed);
}
std::string conv2d_dgrad_kernel(const Conv2dShape& s) {
  return dgrad_plan(s)->kernel;
}

void conv2d_wgrad(const Conv2dShape& s, const Conv2dWgradArgs& a, Stream) {
  const auto plan = wgrad_plan(s);
  const memory dw = wrap(plan->w, static_cast<std::byte*>(a.workspace) + wgrad_scratch(*plan));
  plan->convolution.execute(stream(), {{DNNL_ARG_SRC, wrap(plan->x, a.x)},
                                       {DNNL_ARG_DIFF_DST, wrap(plan->y, a.g)},
                                       {DNNL_ARG_DIFF_WEIGHTS, dw},
                                       {DNNL_ARG_SCRATCHPAD, wrap(plan->scratch, a.workspace)}});
  (a.accumulate ? plan->add : plan->store)
      .execute(stream(), {{DNNL_ARG_FROM, dw},
                          {DNNL_ARG_TO, wrap(plan->slice, a.dw)},
                          {DNNL_ARG_SCRATCHPAD,
                           wrap(a.accumulate ? plan->add_scratch : plan->store_scratch, a.workspace)}});
}
std::size_t conv2d_wgrad_workspace(const Conv2dShape& s) {
  const auto plan = wgrad_plan(s);
  return wgrad_scratch(*plan) + plan->w.get_size();
}
std::string conv2d_wgrad_kernel(const Conv2dShape& s) {
  return wgrad_plan(s)->kernel;
}

}  // namespace rtfq::kernels::onednn
