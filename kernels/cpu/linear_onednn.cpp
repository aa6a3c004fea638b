#include "kernels/cpu/linear_onednn.h"

#include <algorithm>

#include "kernels/cpu/features.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/plan_cache.h"

namespace rtfq::kernels::onednn {
namespace {

using dnnl::memory;

struct Plan {
  memory::desc a, b, bias, c, scratch;
  dnnl::matmul product;
  std::string kernel;
};

/// c = a * b (+ bias) (+ c).
Plan make_plan(const memory::desc& a, const memory::desc& b, const memory::desc& c, bool with_bias,
               bool accumulate) {
  Plan plan;
  plan.a = a;
  plan.b = b;
  plan.c = c;
  const auto attr = attributes(accumulate);
  if (with_bias) plan.bias = matrix(1, c.get_dims()[1], c.get_dims()[1], 1);
  const auto desc = with_bias ? dnnl::matmul::primitive_desc(engine(), a, b, plan.bias, c, attr)
                              : dnnl::matmul::primitive_desc(engine(), a, b, c, attr);
  plan.scratch = desc.scratchpad_desc();
  plan.product = dnnl::matmul(desc);
  plan.kernel = desc.impl_info_str();
  return plan;
}

enum class Direction { forward, dgrad, wgrad };

/// `option`: with bias (forward), accumulating (weight gradient).
std::shared_ptr<const Plan> plan_for(const char* op, Direction direction, const LinearShape& s, bool option) {
  static PlanCache<Plan> cache;
  try {
    return cache.get({static_cast<int64_t>(direction), option, s.n, s.c, s.k, s.c_parent, s.x_type}, [&] {
      const auto sums = on_codes(s) ? RTFQ_S32 : RTFQ_F32;
      const auto x = matrix(s.n, s.c, s.c, 1, s.x_type), y = matrix(s.n, s.k, s.k, 1, sums);
      switch (direction) {
        case Direction::forward:
          return make_plan(x, matrix(s.c, s.k, 1, s.c_parent, s.w_type), y, option, false);
        case Direction::dgrad:
          return make_plan(y, matrix(s.k, s.c, s.c_parent, 1), x, false, false);
        case Direction::wgrad:
          return make_plan(matrix(s.k, s.n, 1, s.k), x, matrix(s.k, s.c, s.c_parent, 1), false, option);
      }
      throw std::logic_error("[linear] unknown direction");
    });
  } catch (const dnnl::error& error) {
    rethrow(op, error);
  }
}

void run(const Plan& plan, const void* a, const void* b, const void* bias, const void* c, void* workspace) {
  std::unordered_map<int, memory> args = {{DNNL_ARG_SRC, wrap(plan.a, a)},
                                          {DNNL_ARG_WEIGHTS, wrap(plan.b, b)},
                                          {DNNL_ARG_DST, wrap(plan.c, c)},
                                          {DNNL_ARG_SCRATCHPAD, wrap(plan.scratch, workspace)}};
  if (bias) args.emplace(DNNL_ARG_BIAS, wrap(plan.bias, bias));
  plan.product.execute(stream(), args);
}

}  // namespace

const char* linear_unsupported(const LinearShape& s) {
  return all_f32(s) ? nullptr : "takes f32 operands only";
}

const char* linear_forward_unsupported(const LinearShape& s) {
  if (!on_codes(s))
    return all_f32(s) ? nullptr : "takes f32 operands, or codes with s8 weights and an f32 result";
  return cpu::fast_int8() ? nullptr : "needs VNNI for codes: without it the library's products saturate";
}

void linear_forward(const LinearShape& s, const LinearForwardArgs& a, Stream) {
  if (!on_codes(s)) {
    const bool with_bias = a.bias != nullptr;
    run(*plan_for(LinearForward::name, Direction::forward, s, with_bias), a.x, a.w, a.bias, a.y, a.workspace);
    return;
  }
  // The workspace: scratch, then the sums.
  const auto plan = plan_for(LinearForward::name, Direction::forward, s, false);
  auto* sums = static_cast<int32_t*>(
      static_cast<void*>(static_cast<std::byte*>(a.workspace) + align64(plan->scratch.get_size())));
  run(*plan, a.x, a.w, nullptr, sums, a.workspace);
  auto* y = static_cast<float*>(a.y);
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t k = 0; k < s.k; ++k) {
      const float scaled = a.scale[k] * static_cast<float>(sums[n * s.k + k]);
      y[n * s.k + k] = a.bias ? scaled + a.bias[k] : scaled;
    }
}
std::size_t linear_forward_workspace(const LinearShape& s) {
  const auto scratch = [&](bool with_bias) {
    return plan_for(LinearForward::name, Direction::forward, s, with_bias)->scratch.get_size();
  };
  if (on_codes(s)) return align64(scratch(false)) + static_cast<std::size_t>(s.n * s.k) * sizeof(int32_t);
  return std::max(scratch(false), scratch(true));
}
std::string linear_forward_kernel(const LinearShape& s) {
  return plan_for(LinearForward::name, Direction::forward, s, false)->kernel;
}

void linear_dgrad(const LinearShape& s, const LinearDgradArgs& a, Stream) {
  run(*plan_for(LinearDgrad::name, Direction::dgrad, s, false), a.g, a.w, nullptr, a.dx, a.workspace);
}
std::size_t linear_dgrad_workspace(const LinearShape& s) {
  return plan_for(LinearDgrad::name, Direction::dgrad, s, false)->scratch.get_size();
}

void linear_wgrad(const LinearShape& s, const LinearWgradArgs& a, Stream) {
  run(*plan_for(LinearWgrad::name, Direction::wgrad, s, a.accumulate), a.g, a.x, nullptr, a.dw, a.workspace);
  if (!a.dbias) return;
  // n*k values that the product has just read: too little work for more than one thread.
  const auto* g = static_cast<const float*>(a.g);
  constexpr int64_t block = 16;
  for (int64_t k0 = 0; k0 < s.k; k0 += block) {
    float sum[block] = {};
    const int64_t count = std::min(block, s.k - k0);
    for (int64_t n = 0; n < s.n; ++n)
      for (int64_t k = 0; k < count; ++k) sum[k] += g[n * s.k + k0 + k];
    for (int64_t k = 0; k < count; ++k) a.dbias[k0 + k] = a.accumulate ? a.dbias[k0 + k] + sum[k] : sum[k];
  }
}
std::size_t linear_wgrad_workspace(const LinearShape& s) {
  return std::max(plan_for(LinearWgrad::name, Direction::wgrad, s, false)->scratch.get_size(),
                  plan_for(LinearWgrad::name, Direction::wgrad, s, true)->scratch.get_size());
}

}  // namespace rtfq::kernels::onednn
