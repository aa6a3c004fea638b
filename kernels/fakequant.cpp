#include "kernels/fakequant.h"

#include <stdexcept>
#include <string>

namespace rtfq::kernels {
namespace {

void require_positive(const char* what, int64_t value) {
  if (value < 1)
    throw std::invalid_argument(std::string("[fakequant] expected a positive ") + what + ", got " +
                                std::to_string(value) + ": an empty tensor has no step size");
}

/// Codes are stored in 8 bits, signed ones wherever a code can be negative.
void require_bounds(QuantBounds b) {
  const bool fits = b.qn == 0 ? b.qp <= 255 : b.qn <= 128 && b.qp <= 127;
  if (b.qn < 0 || b.qp < 1 || !fits)
    throw std::invalid_argument(
        "[fakequant] expected codes in [0, 255] or [-128, 127] with qn >= 0 and qp >= 1, got [" +
        std::to_string(-b.qn) + ", " + std::to_string(b.qp) + "]: use quant_bounds");
}

double elements(const FakeQuantShape& s) {
  return static_cast<double>(count(s));
}

}  // namespace

QuantBounds quant_bounds(int bits, bool is_signed, bool symmetric) {
  if (bits < 2 || bits > 8)
    throw std::invalid_argument("[fakequant] expected 2 to 8 bits, got " + std::to_string(bits) +
                                ": wider tensors are kept in floating point");
  if (!is_signed) return {0, (1 << bits) - 1};
  const int32_t half = 1 << (bits - 1);
  return {symmetric ? half - 1 : half, half - 1};
}

FakeQuantShape make_fakequant_shape(int64_t count, QuantBounds bounds, rtfq_dtype type) {
  require_positive("number of elements", count);
  require_bounds(bounds);
  if (type != RTFQ_F32 && type != RTFQ_BF16 && type != RTFQ_F16)
    throw std::invalid_argument(std::string("[fakequant] expected f32, bf16 or f16 elements, got ") +
                                type_name(type) + ": convert them first");
  return {1, 1, count, count, count, bounds.qn, bounds.qp, 0, type};
}

FakeQuantShape make_fakequant_weight_shape(int64_t k, int64_t rs, int64_t c, int64_t c_parent,
                                           QuantBounds bounds, bool per_row) {
  require_positive("number of output channels", k);
  require_positive("filter size", rs);
  require_positive("number of input channels", c);
  if (c > c_parent)
    throw std::invalid_argument("[fakequant] weight expects at most " + std::to_string(c_parent) +
                                " input channels, got " + std::to_string(c) +
                                ": the subnet is wider than its parent");
  require_bounds(bounds);
  return {k, rs, c, rs * c_parent, c_parent, bounds.qn, bounds.qp, per_row ? 1 : 0, RTFQ_F32};
}

int64_t count(const FakeQuantShape& s) {
  return s.rows * s.groups * s.cols;
}
int64_t steps(const FakeQuantShape& s) {
  return s.per_row ? s.rows : 1;
}

// Forward: x read, one result of its type written (codes instead of values would be a byte an element);
// multiply, two clamps, round, multiply. Backward: g and x read, dx written; multiply, two comparisons,
// round, subtract, multiply-add.
Cost cost(const FakeQuantForward&, const FakeQuantShape& s) {
  return {static_cast<double>(2 * element_bytes(s.type)) * elements(s), 5 * elements(s)};
}
Cost cost(const FakeQuantBackward&, const FakeQuantShape& s) {
  return {static_cast<double>(3 * element_bytes(s.type)) * elements(s), 7 * elements(s)};
}
Cost cost(const AbsSum&, const FakeQuantShape& s) {
  return {static_cast<double>(element_bytes(s.type)) * elements(s), 2 * elements(s)};
}

}  // namespace rtfq::kernels
