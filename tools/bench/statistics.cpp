#include "tools/bench/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace rtfq::lab {

double quantile(std::vector<double> values, double q) {
  if (values.empty()) return std::nan("");
  std::sort(values.begin(), values.end());
  const double at = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (at - static_cast<double>(below)) * (values[above] - values[below]);
}

Interval median_interval(std::vector<double> values, double confidence) {
  const std::size_t n = values.size();
  const double infinity = std::numeric_limits<double>::infinity();
  std::sort(values.begin(), values.end());
  // The greatest k with 2 P(B < k) <= 1 - confidence, B binomial(n, 1/2): the k-th smallest and k-th greatest
  // bound it.
  double tail = 0, log_choose = 0;
  std::size_t k = 0;
  for (std::size_t i = 0; 2 * i < n; ++i) {
    tail += std::exp(log_choose - static_cast<double>(n) * std::log(2.0));
    if (2 * tail > 1 - confidence) break;
    k = i + 1;
    log_choose += std::log(static_cast<double>(n - i)) - std::log(static_cast<double>(i + 1));
  }
  if (k == 0) return {-infinity, infinity};
  return {values[k - 1], values[n - k]};
}

double spread(const std::vector<double>& values) {
  return (quantile(values, 0.75) - quantile(values, 0.25)) / quantile(values, 0.5);
}

}  // namespace rtfq::lab
