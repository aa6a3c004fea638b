#include "kernels/catalog/batchnorm_reference.h"

#include <cmath>

namespace rtfq::kernels::catalog::reference {
namespace {

/// Calls f(index in x, index in [segments][c], segment) for every element.
template <class F>
void for_each_element(const BatchNormShape& s, F&& f) {
  std::size_t i = 0;
  int segment = 0;
  for (int64_t image = 0; image < s.n; ++image) {
    if (image == s.segment_end[segment]) ++segment;
    for (int64_t pixel = 0; pixel < s.hw; ++pixel)
      for (int64_t c = 0; c < s.c; ++c) f(i++, static_cast<std::size_t>(segment * s.c + c), segment);
  }
}

std::size_t moments(const BatchNormShape& s) {
  return static_cast<std::size_t>(s.segments * s.c);
}

double inverse(const BatchNormShape& s, double variance) {
  return 1 / std::sqrt(variance + static_cast<double>(s.epsilon));
}

}  // namespace

BatchNormMoments batchnorm_statistics(const BatchNormShape& s, const Values& x) {
  BatchNormMoments result{Values(moments(s)), Values(moments(s))};
  for_each_element(s, [&](std::size_t i, std::size_t at, int segment) {
    result.mean[at] += x[i] / static_cast<double>(count(s, segment));
  });
  // The mean's own rounding is taken out again, which matters where the variance is zero.
  Values correction(moments(s));
  for_each_element(s, [&](std::size_t i, std::size_t at, int segment) {
    correction[at] += (x[i] - result.mean[at]) / static_cast<double>(count(s, segment));
  });
  for (std::size_t at = 0; at < correction.size(); ++at) result.mean[at] += correction[at];
  for_each_element(s, [&](std::size_t i, std::size_t at, int segment) {
    const double d = x[i] - result.mean[at];
    result.variance[at] += d * d / static_cast<double>(count(s, segment));
  });
  return result;
}

Values batchnorm_normalize(const BatchNormShape& s, const Values& x, const BatchNormMoments& m,
                           const Values& scale, const Values& shift) {
  Values y(x.size());
  for_each_element(s, [&](std::size_t i, std::size_t at, int) {
    y[i] = (x[i] - m.mean[at]) * inverse(s, m.variance[at]) * scale[at] + shift[at];
  });
  return y;
}

BatchNormSums batchnorm_reduce(const BatchNormShape& s, const Values& x, const Values& g,
                               const BatchNormMoments& m) {
  BatchNormSums sums{Values(moments(s)), Values(moments(s))};
  for_each_element(s, [&](std::size_t i, std::size_t at, int) {
    sums.sum_g[at] += g[i];
    sums.sum_gx[at] += g[i] * (x[i] - m.mean[at]) * inverse(s, m.variance[at]);
  });
  return sums;
}

Values batchnorm_apply(const BatchNormShape& s, const Values& x, const Values& g, const BatchNormMoments& m,
                       const BatchNormSums& sums, const Values& scale, const Values& counts) {
  Values dx(x.size());
  for_each_element(s, [&](std::size_t i, std::size_t at, int segment) {
    const double n = counts[static_cast<std::size_t>(segment)], factor = inverse(s, m.variance[at]);
    const double normalized = (x[i] - m.mean[at]) * factor;
    dx[i] = scale[at] * factor * (g[i] - sums.sum_g[at] / n - normalized * sums.sum_gx[at] / n);
  });
  return dx;
}

}  // namespace rtfq::kernels::catalog::reference
