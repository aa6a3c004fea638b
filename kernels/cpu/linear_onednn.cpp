#include "kernels/cpu/linear_onednn.h"

#include <algorithm>

#include "kernels/cpu/onednn.h"
#include "kernels/cpu/plan_cache.h"

namespace rtfq::kernels::onednn {
namespace {

using dnnl::memory;

struct Plan {
  memory::desc a, b, bias, c, scratch;
  dnnl::matmul product;
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
  return plan;
}

enum class Direction { forward, dgrad, wgrad };

/// `option`: with bias (forward), accumulating (weight gradient).
std::shared_ptr<const Plan> plan_for(const char* op, Direction direction, const LinearShape& s, bool option) {
  static PlanCache<Plan> cache;
  try {
    return cache.get({static_cast<int64_t>(direction), option, s.n, s.c, s.k, s.c_parent}, [&] {
      const auto x = matrix(s.n, s.c, s.c, 1), y = matrix(s.n, s.k, s.k, 1);
      switch (direction) {
        case Direction::forward:
          return make_plan(x, matrix(s.c, s.k, 1, s.c_parent), y, option, false);
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
  return s.x_type == RTFQ_F32 && s.w_type == RTFQ_F32 && s.y_type == RTFQ_F32 ? nullptr
                                                                              : "takes f32 operands only";
}

void linear_forward(const LinearShape& s, const LinearForwardArgs& a, Stream) {
  const bool with_bias = a.bias != nullptr;
  run(*plan_for(LinearForward::name, Direction::forward, s, with_bias), a.x, a.w, a.bias, a.y, a.workspace);
}
std::size_t linear_forward_workspace(const LinearShape& s) {
  return std::max(plan_for(LinearForward::name, Direction::forward, s, false)->scratch.get_size(),
                  plan_for(LinearForward::name, Direction::forward, s, true)->scratch.get_size());
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
