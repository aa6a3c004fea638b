// With oneDNN 3.2 every shape of a ResNet, also with one or three input channels and with channel counts
// that are only multiples of 8, gets a jit kernel in f32, bf16 and on codes, and so do the reorders from and
// to strided slices; tests/kernels/conv2d_onednn.cpp keeps watch. Rates: docs/results/conv-cpu.md. The data
// gradient of a stem (few input channels) is slow, but no training asks for it.
#include "kernels/cpu/conv2d_onednn.h"

#include <algorithm>
#include <cstring>
#include <dnnl.hpp>

#include "kernels/cpu/conv2d_onednn_plan.h"
#include "kernels/cpu/convert_codes.h"
#include "kernels/cpu/features.h"

namespace rtfq::kernels::onednn {
namespace {

using dnnl::memory;

bool has_avx512() {
  constexpr auto bits = static_cast<unsigned>(dnnl::cpu_isa::avx512_core);
  static const bool answer = (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & bits) == bits;
  return answer;
}

const char* unsupported(const Conv2dShape& s) {
  if (s.pad >= s.r || s.pad >= s.s)
    return "padding as wide as the filter runs in the library's reference code";
  if ((s.x_type == RTFQ_BF16 || s.y_type == RTFQ_BF16) && !has_avx512()) return "needs AVX-512 for bf16";
  return nullptr;
}

/// Packed weights, and behind them the scratch memory of packing.
std::size_t packed_size(const Conv2dPlan& plan) {
  return align64(plan.w.get_size()) + plan.pack.scratch.get_size();
}

void pack(const Conv2dPlan& plan, const void* weights, void* packed) {
  void* scratch = static_cast<std::byte*>(packed) + align64(plan.w.get_size());
  plan.pack.primitive.execute(stream(), {{DNNL_ARG_FROM, wrap(plan.slice, weights)},
                                         {DNNL_ARG_TO, wrap(plan.w, packed)},
                                         {DNNL_ARG_SCRATCHPAD, wrap(plan.pack.scratch, scratch)}});
  // Equal weights are equal bytes: whoever keeps many of them can tell.
  std::memset(scratch, 0, plan.pack.scratch.get_size());
}

/// The weight gradient's workspace: scratch of whichever primitive runs, then the gradient in the library's
/// layout, then the converted codes.
struct WgradWorkspace {
  std::size_t gradient, codes, size;
  WgradWorkspace(const Conv2dPlan& plan, const Conv2dShape& s)
      : gradient(align64(
            std::max({plan.scratch.get_size(), plan.store.scratch.get_size(), plan.add.scratch.get_size()}))),
        codes(gradient + align64(plan.w.get_size())),
        size(codes + (s.x_type == s.y_type ? 0 : plan.x.get_size())) {}
};

template <class X>
void convert(const Conv2dShape& s, const void* x, void* to) {
  const int64_t count = s.n * s.h * s.w * s.c;
  const auto* codes = static_cast<const X*>(x);
  if (s.y_type == RTFQ_BF16)
    cpu::convert_codes(codes, static_cast<bf16*>(to), count);
  else
    cpu::convert_codes(codes, static_cast<float*>(to), count);
}

}  // namespace

const char* conv2d_forward_unsupported(const Conv2dShape& s) {
  if (const char* reason = unsupported_types(Conv2dForward{}, s)) return reason;
  if (s.w_type == RTFQ_S8 && !cpu::fast_int8())
    return "needs VNNI for codes: without it the library's products saturate";
  return unsupported(s);
}
const char* conv2d_dgrad_unsupported(const Conv2dShape& s) {
  const char* reason = unsupported_types(Conv2dDgrad{}, s);
  return reason ? reason : unsupported(s);
}
const char* conv2d_wgrad_unsupported(const Conv2dShape& s) {
  if (const char* reason = unsupported_types(Conv2dWgrad{}, s)) return reason;
  // oneDNN 3.2's jit_1x1 copies the pixels of a stride a vector of channels at a time; where there are fewer
  // its gradients change from one run to the next, and it writes where it must not.
  const bool avx512 = cpu::has_avx512();
  if (s.r * s.s == 1 && s.stride > 1 && s.c < (avx512 ? 16 : 8))
    return avx512 ? "1x1 with a stride and fewer than 16 channels: the library's kernel is wrong there"
                  : "1x1 with a stride and fewer than 8 channels: the library's kernel is wrong there";
  return unsupported(s);
}

void conv2d_forward(const Conv2dShape& s, const Conv2dForwardArgs& a, Stream) {
  const auto plan = conv2d_forward_plan(s);
  std::unordered_map<int, memory> args{{DNNL_ARG_SRC, wrap(plan->x, a.x)},
                                       {DNNL_ARG_WEIGHTS, wrap(plan->w, a.packed)},
                                       {DNNL_ARG_DST, wrap(plan->y, a.y)},
                                       {DNNL_ARG_SCRATCHPAD, wrap(plan->scratch, a.workspace)}};
  if (plan->scaled) args.emplace(DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS, wrap(vector(s.k), a.scale));
  plan->convolution.execute(stream(), args);
}
std::size_t conv2d_forward_workspace(const Conv2dShape& s) {
  return conv2d_forward_plan(s)->scratch.get_size();
}
std::size_t conv2d_forward_packed(const Conv2dShape& s) {
  return packed_size(*conv2d_forward_plan(s));
}
void conv2d_forward_pack(const Conv2dShape& s, const void* weights, void* packed, Stream) {
  pack(*conv2d_forward_plan(s), weights, packed);
}
std::string conv2d_forward_kernel(const Conv2dShape& s) {
  return conv2d_forward_plan(s)->kernel;
}

void conv2d_dgrad(const Conv2dShape& s, const Conv2dDgradArgs& a, Stream) {
  const auto plan = conv2d_dgrad_plan(s);
  plan->convolution.execute(stream(), {{DNNL_ARG_DIFF_DST, wrap(plan->y, a.g)},
                                       {DNNL_ARG_WEIGHTS, wrap(plan->w, a.packed)},
                                       {DNNL_ARG_DIFF_SRC, wrap(plan->x, a.dx)},
                                       {DNNL_ARG_SCRATCHPAD, wrap(plan->scratch, a.workspace)}});
}
std::size_t conv2d_dgrad_workspace(const Conv2dShape& s) {
  return conv2d_dgrad_plan(s)->scratch.get_size();
}
std::size_t conv2d_dgrad_packed(const Conv2dShape& s) {
  return packed_size(*conv2d_dgrad_plan(s));
}
void conv2d_dgrad_pack(const Conv2dShape& s, const void* weights, void* packed, Stream) {
  pack(*conv2d_dgrad_plan(s), weights, packed);
}
std::string conv2d_dgrad_kernel(const Conv2dShape& s) {
  return conv2d_dgrad_plan(s)->kernel;
}

void conv2d_wgrad(const Conv2dShape& s, const Conv2dWgradArgs& a, Stream) {
  const auto plan = conv2d_wgrad_plan(s);
  const WgradWorkspace at(*plan, s);
  auto* workspace = static_cast<std::byte*>(a.workspace);
  const void* x = a.x;
  if (s.x_type != s.y_type) {
    s.x_type == RTFQ_U8 ? convert<uint8_t>(s, a.x, workspace + at.codes)
                        : convert<int8_t>(s, a.x, workspace + at.codes);
    x = workspace + at.codes;
  }
  const memory dw = wrap(plan->w, workspace + at.gradient);
  plan->convolution.execute(stream(), {{DNNL_ARG_SRC, wrap(plan->x, x)},
                                       {DNNL_ARG_DIFF_DST, wrap(plan->y, a.g)},
                                       {DNNL_ARG_DIFF_WEIGHTS, dw},
                                       {DNNL_ARG_SCRATCHPAD, wrap(plan->scratch, workspace)}});
  const float one = 1.0f;
  const Reorder& finish = a.accumulate ? plan->add : plan->store;
  finish.primitive.execute(stream(),
                           {{DNNL_ARG_FROM, dw},
                            {DNNL_ARG_TO, wrap(plan->slice, a.dw)},
                            {DNNL_ARG_ATTR_SCALES | DNNL_ARG_FROM, wrap(vector(1), a.scale ? a.scale : &one)},
                            {DNNL_ARG_SCRATCHPAD, wrap(finish.scratch, workspace)}});
}
std::size_t conv2d_wgrad_workspace(const Conv2dShape& s) {
  return WgradWorkspace(*conv2d_wgrad_plan(s), s).size;
}
std::string conv2d_wgrad_kernel(const Conv2dShape& s) {
  return conv2d_wgrad_plan(s)->kernel;
}

}  // namespace rtfq::kernels::onednn
