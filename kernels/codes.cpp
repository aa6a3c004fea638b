#include "kernels/codes.h"

#include <stdexcept>

namespace rtfq::kernels {

DequantizeShape make_dequantize_shape(int64_t rows, int64_t inner, rtfq_dtype type) {
  if (rows < 1 || inner < 0 || (type != RTFQ_U8 && type != RTFQ_S8))
    throw std::invalid_argument("[dequantize] expected rows of u8 or s8 codes, got " + std::to_string(rows) +
                                " x " + std::to_string(inner) + " " + type_name(type));
  return {rows, inner, type};
}

Cost cost(const Dequantize&, const DequantizeShape& s) {
  const auto count = static_cast<double>(s.rows * s.inner);
  return {5 * count, count};
}
Cost cost(const ScaleProduct&, const ScaleProductShape& s) {
  const auto count = static_cast<double>(s.count);
  return {s.single ? 4 * count : 8 * count, count};
}

}  // namespace rtfq::kernels
