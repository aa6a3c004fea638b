#include "kernels/catalog/normquant_reference.h"

#include <algorithm>
#include <cmath>

#include "kernels/catalog/batchnorm_reference.h"
#include "kernels/catalog/typed.h"

namespace rtfq::kernels::catalog::reference {
namespace {

/// Calls f(index in x, index in [segments][c]) for every element.
template <class F>
void for_each_element(const BatchNormShape& s, F&& f) {
  std::size_t i = 0;
  int segment = 0;
  for (int64_t image = 0; image < s.n; ++image) {
    if (image == s.segment_end[segment]) ++segment;
    for (int64_t pixel = 0; pixel < s.hw; ++pixel)
      for (int64_t c = 0; c < s.c; ++c) f(i++, static_cast<std::size_t>(segment * s.c + c));
  }
}

float normalized(const BatchNormShape& s, const NormOperands& norm, std::size_t i, std::size_t at) {
  const float deviation = std::sqrt(norm.variance[at] + s.epsilon),
              factor = 1.0f / deviation * norm.scale[at];
  return std::fma(norm.x[i] - norm.mean[at], factor, norm.shift[at]);
}

struct Quantized {
  double code, t;
  bool inside;
};

Quantized quantized(float z, float step, int32_t qp) {
  const float v = z * (1.0f / step);
  const double value = static_cast<double>(v), high = qp;
  if (!(value > 0)) return {0, 0, false};
  if (value >= high) return {high, high, false};
  return {std::nearbyint(value), std::nearbyint(value) - value, true};
}

Values doubles(const std::vector<float>& x) {
  return {x.begin(), x.end()};
}

}  // namespace

std::vector<float> normquant_sum(const NormQuantProblem& p) {
  std::vector<float> z(p.main.x.size());
  for_each_element(p.shape.norm, [&](std::size_t i, std::size_t at) {
    z[i] = normalized(p.shape.norm, p.main, i, at);
    float more = 0;
    switch (p.shape.residual) {
      case RTFQ_RESIDUAL_NONE:
        return;
      case RTFQ_RESIDUAL_VALUES:
        more = p.residual[i];
        break;
      case RTFQ_RESIDUAL_CODES:
        more = static_cast<float>(p.residual_codes[i]) * p.residual_step;
        break;
      case RTFQ_RESIDUAL_NORM:
        more = normalized(p.shape.norm, p.other, i, at);
        break;
    }
    z[i] += more;
  });
  return z;
}

Values normquant_codes(const std::vector<float>& z, float step, int32_t qp) {
  Values codes;
  for (const float value : z) codes.push_back(quantized(value, step, qp).code);
  return codes;
}

NormQuantGradients normquant_reduce(const NormQuantProblem& p, const std::vector<float>& z) {
  NormQuantGradients r;
  for (std::size_t i = 0; i < z.size(); ++i) {
    float g = 0;
    if (!p.g_codes.empty()) {
      const Quantized q = quantized(z[i], p.step, p.shape.qp);
      const double term = static_cast<double>(p.g_codes[i]) * q.t;
      r.ds += term;
      r.ds_weight += std::abs(term);
      if (q.inside) g = p.g_codes[i];
    }
    if (!p.g_identity.empty() && p.shape.identity == RTFQ_IDENTITY_CODES) {
      const Quantized q = quantized(z[i], p.identity_step, p.shape.identity_qp);
      const double term = static_cast<double>(p.g_identity[i]) * q.t;
      r.identity_ds += term;
      r.identity_ds_weight += std::abs(term);
      if (q.inside) g += p.g_identity[i];
    }
    if (!p.g_identity.empty() && p.shape.identity == RTFQ_IDENTITY_VALUES && z[i] > 0) g += p.g_identity[i];
    r.g_z.push_back(p.stores_g_z ? static_cast<float>(stored(p.shape.norm.type, static_cast<double>(g))) : g);
  }
  const auto sums = [&](const NormOperands& norm) {
    return batchnorm_reduce(p.shape.norm, doubles(norm.x), doubles(r.g_z),
                            {doubles(norm.mean), doubles(norm.variance)});
  };
  auto of_main = sums(p.main);
  r.sum_g = std::move(of_main.sum_g);
  r.sum_gx = std::move(of_main.sum_gx);
  if (p.shape.residual == RTFQ_RESIDUAL_NORM) r.other_sum_gx = sums(p.other).sum_gx;
  return r;
}

Values normquant_apply(const BatchNormShape& s, const NormOperands& norm, const std::vector<float>& g_z,
                       const Values& sum_g, const Values& sum_gx, const Values& counts) {
  return batchnorm_apply(s, doubles(norm.x), doubles(g_z), {doubles(norm.mean), doubles(norm.variance)},
                         {sum_g, sum_gx}, doubles(norm.scale), counts);
}

}  // namespace rtfq::kernels::catalog::reference
