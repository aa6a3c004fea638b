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

Code quantized(float z, float step, int32_t qp, const Contract& contract) {
  return code_of(z, step, 0, qp, contract);
}

/// What d value / d step of such an element may be off by.
double change_of_t(const Nearness& near, const ExactSum& exact, float step, int32_t qp) {
  return (near.high_border ? qp : near.tie ? 1 : 0) + exact.reach / static_cast<double>(step);
}

/// Of a code that is clamped to [0, qp].
Nearness near_of(const ExactSum& exact, float step, double code, int32_t qp) {
  const double v = exact.z / static_cast<double>(step);
  return nearness(v, std::max(0x1p-21, exact.reach / static_cast<double>(step)), code, 0, qp);
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

std::vector<ExactSum> normquant_exact(const NormQuantProblem& p) {
  const BatchNormShape& s = p.shape.norm;
  const auto factors = [&](const NormOperands& norm) {
    Values of;
    for (std::size_t i = 0; i < norm.variance.size(); ++i)
      of.push_back(static_cast<double>(norm.scale[i]) /
                   std::sqrt(static_cast<double>(norm.variance[i]) + static_cast<double>(s.epsilon)));
    return of;
  };
  const Values of_main = factors(p.main), of_other = factors(p.other);
  std::vector<ExactSum> all(p.main.x.size());
  for_each_element(s, [&](std::size_t i, std::size_t at) {
    double z = 0, terms = 0;
    const auto add = [&](double term) { z += term, terms += std::abs(term); };
    const auto add_norm = [&](const NormOperands& norm, double factor) {
      add(static_cast<double>(norm.x[i]) * factor);
      add(-static_cast<double>(norm.mean[at]) * factor);
      add(static_cast<double>(norm.shift[at]));
    };
    add_norm(p.main, of_main[at]);
    if (p.shape.residual == RTFQ_RESIDUAL_VALUES) add(static_cast<double>(p.residual[i]));
    if (p.shape.residual == RTFQ_RESIDUAL_CODES)
      add(static_cast<double>(p.residual_codes[i]) * static_cast<double>(p.residual_step));
    if (p.shape.residual == RTFQ_RESIDUAL_NORM) add_norm(p.other, of_other[at]);
    all[i] = {z, 0x1p-21 * terms};
  });
  return all;
}

Codes normquant_codes(const std::vector<float>& z, const std::vector<ExactSum>& exact, float step, int32_t qp,
                      const Contract& contract) {
  Codes all;
  for (std::size_t i = 0; i < z.size(); ++i) {
    all.codes.push_back(quantized(z[i], step, qp, contract).code);
    if (!exact.empty()) all.neighbours.push_back(near_of(exact[i], step, all.codes.back(), qp).neighbour);
  }
  return all;
}

NormQuantGradients normquant_reduce(const NormQuantProblem& p, const std::vector<float>& z,
                                    const std::vector<ExactSum>& exact, const Contract& contract) {
  NormQuantGradients r;
  const bool to_codes = p.shape.identity == RTFQ_IDENTITY_CODES,
             to_values = p.shape.identity == RTFQ_IDENTITY_VALUES;
  const auto as_stored = [&](float g) {
    return p.stores_g_z ? static_cast<float>(stored(p.shape.norm.type, static_cast<double>(g))) : g;
  };
  for (std::size_t i = 0; i < z.size(); ++i) {
    float g = 0, other = 0;  // other: where the sum is on the other side of a border that it is next to
    if (!p.g_codes.empty()) {
      const float its = p.g_codes[i];
      const Code q = quantized(z[i], p.step, p.shape.qp, contract);
      const double term = static_cast<double>(its) * q.t;
      r.ds += term;
      r.ds_weight += std::abs(term);
      if (q.inside) g = its;
      other = g;
      if (!exact.empty()) {
        const Nearness near = near_of(exact[i], p.step, q.code, p.shape.qp);
        if (near.low_border || near.high_border) other = q.inside ? 0 : its;
        r.near_ds += std::abs(static_cast<double>(its)) * change_of_t(near, exact[i], p.step, p.shape.qp);
      }
    }
    if (!p.g_identity.empty() && (to_codes || to_values)) {
      const float its = p.g_identity[i];
      bool inside = z[i] > 0, border = !exact.empty() && std::abs(exact[i].z) <= exact[i].reach;
      if (to_codes) {
        const Code q = quantized(z[i], p.identity_step, p.shape.identity_qp, contract);
        const double term = static_cast<double>(its) * q.t;
        r.identity_ds += term;
        r.identity_ds_weight += std::abs(term);
        inside = q.inside;
        if (!exact.empty()) {
          const Nearness near = near_of(exact[i], p.identity_step, q.code, p.shape.identity_qp);
          border = near.low_border || near.high_border;
          r.near_identity_ds += std::abs(static_cast<double>(its)) *
                                change_of_t(near, exact[i], p.identity_step, p.shape.identity_qp);
        }
      }
      if (inside) g += its;
      if (inside != border) other += its;
    }
    r.g_z.push_back(as_stored(g));
    if (!exact.empty()) r.g_z_neighbours.push_back(as_stored(other));
  }
  if (!exact.empty())
    for_each_element(p.shape.norm, [&](std::size_t i, std::size_t at) {
      const double change =
          std::abs(static_cast<double>(r.g_z_neighbours[i]) - static_cast<double>(r.g_z[i]));
      if (change == 0) return;
      double greatest = 1;
      for (const NormOperands* norm : {&p.main, &p.other})
        if (!norm->x.empty())
          greatest = std::max(greatest, std::abs(static_cast<double>(norm->x[i] - norm->mean[at])) /
                                            std::sqrt(static_cast<double>(norm->variance[at])));
      r.near_g += change * greatest;
    });
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
