#include "kernels/linear.h"

#include <stdexcept>
#include <string>

namespace rtfq::kernels {
namespace {

void require_positive(const char* what, int64_t value) {
  if (value < 1)
    throw std::invalid_argument(std::string("[linear] expected a positive ") + what + ", got " +
                                std::to_string(value) + ": an empty operand cannot be multiplied");
}

/// The three matrices once each, and `vector` more elements.
Cost cost_of(const LinearShape& s, double vector) {
  const double n = static_cast<double>(s.n), c = static_cast<double>(s.c), k = static_cast<double>(s.k);
  return {4 * (n * c + k * c + n * k + vector), 2 * n * c * k};
}

}  // namespace

LinearShape make_linear_shape(int64_t n, int64_t c, int64_t k, int64_t c_parent) {
  require_positive("number of rows", n);
  require_positive("number of input features", c);
  require_positive("number of output features", k);
  if (c > c_parent)
    throw std::invalid_argument("[linear] weight expects at most " + std::to_string(c_parent) +
                                " input features, got " + std::to_string(c) +
                                ": the subnet is wider than its parent");
  return {n, c, k, c_parent, RTFQ_F32, RTFQ_F32, RTFQ_F32};
}

Cost cost(const LinearForward&, const LinearShape& s) {
  Cost total = cost_of(s, static_cast<double>(s.k));
  total.operations += static_cast<double>(s.n) * s.k;  // bias
  return total;
}
Cost cost(const LinearDgrad&, const LinearShape& s) {
  return cost_of(s, 0);
}
Cost cost(const LinearWgrad&, const LinearShape& s) {
  Cost total = cost_of(s, static_cast<double>(s.k));
  total.operations += static_cast<double>(s.n) * s.k;  // bias gradient
  return total;
}

}  // namespace rtfq::kernels
