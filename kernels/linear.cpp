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

/// The three matrices once each, and `vector` more f32 values.
Cost cost_of(const LinearShape& s, double vector) {
  const double n = static_cast<double>(s.n), c = static_cast<double>(s.c), k = static_cast<double>(s.k);
  const auto bytes = [](rtfq_dtype type) { return static_cast<double>(element_bytes(type)); };
  return {bytes(s.x_type) * n * c + bytes(s.w_type) * k * c + bytes(s.y_type) * n * k + 4 * vector,
          2 * n * c * k};
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

bool all_f32(const LinearShape& s) {
  return s.x_type == RTFQ_F32 && s.w_type == RTFQ_F32 && s.y_type == RTFQ_F32;
}
bool on_codes(const LinearShape& s) {
  return (s.x_type == RTFQ_U8 || s.x_type == RTFQ_S8) && s.w_type == RTFQ_S8 && s.y_type == RTFQ_F32;
}

LinearShape with_types(LinearShape s, rtfq_dtype x, rtfq_dtype w, rtfq_dtype y) {
  s.x_type = x;
  s.w_type = w;
  s.y_type = y;
  if (!all_f32(s) && !on_codes(s))
    throw std::invalid_argument(
        std::string("[linear] expected f32 throughout, or codes (u8 or s8) with s8 weights and an "
                    "f32 result, got x ") +
        type_name(x) + ", weights " + type_name(w) + ", y " + type_name(y) + ": convert the operands first");
  const int64_t most = INT32_MAX / (128 * (x == RTFQ_U8 ? 255 : 128));
  if (on_codes(s) && s.c > most)
    throw std::invalid_argument("[linear] expected at most " + std::to_string(most) +
                                " products in a sum of codes, got " + std::to_string(s.c) +
                                ": it could leave 32 bits, use f32");
  return s;
}

Cost cost(const LinearForward&, const LinearShape& s) {
  const bool codes = on_codes(s);  // then one scale a row of the weights too
  Cost total = cost_of(s, static_cast<double>(codes ? 2 * s.k : s.k));
  total.operations += static_cast<double>(s.n) * s.k * (codes ? 2 : 1);
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
