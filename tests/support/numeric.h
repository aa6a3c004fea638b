#pragma once
// Helpers for numeric tests: seeded tensors and distances.

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/random.h"
#include "engine/tensor.h"

namespace rtfq::test {

inline Tensor normal(Dims dims, uint64_t seed, float deviation = 1.0f) {
  Random random(seed, Purpose::test);
  std::vector<float> values(static_cast<std::size_t>(dims.product()));
  for (float& v : values) v = deviation * random.normal();
  return Tensor::from(values, dims);
}

inline double dot(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (int64_t i = 0; i < a.count(); ++i) sum += static_cast<double>(a.as<float>()[i]) * b.as<float>()[i];
  return sum;
}

/// x / |x|
inline Tensor unit(const Tensor& x) {
  const auto norm = static_cast<float>(std::sqrt(dot(x, x)));
  for (int64_t i = 0; i < x.count(); ++i) x.as<float>()[i] /= norm;
  return x;
}

/// |a - b| / |b| over all elements (L2).
inline double relative_l2(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    error += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    norm += double{b[i]} * b[i];
  }
  return a.size() == b.size() ? std::sqrt(error / std::max(norm, 1e-30)) : INFINITY;
}

}  // namespace rtfq::test
