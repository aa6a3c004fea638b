#include "kernels/pool.h"

#include <stdexcept>
#include <string>

namespace rtfq::kernels {
namespace {

void require_positive(const char* what, int64_t value) {
  if (value < 1)
    throw std::invalid_argument(std::string("[pool] expected a positive ") + what + ", got " +
                                std::to_string(value) + ": an empty operand cannot be pooled");
}

double elements_x(const PoolShape& s) {
  return static_cast<double>(s.n) * s.h * s.w * s.c;
}
double elements_y(const PoolShape& s) {
  return static_cast<double>(s.n) * output_height(s) * output_width(s) * s.c;
}

}  // namespace

PoolShape make_pool_shape(int64_t n, int64_t h, int64_t w, int64_t c, int64_t window, int64_t stride,
                          int64_t pad, rtfq_dtype type) {
  require_positive("number of images", n);
  require_positive("input height", h);
  require_positive("input width", w);
  require_positive("number of channels", c);
  require_positive("window", window);
  require_positive("stride", stride);
  if (window > 16)
    throw std::invalid_argument("[pool] expected a window of at most 16, got " + std::to_string(window) +
                                ": places in a window are kept in 8 bits; use global average pooling");
  if (pad < 0 || pad >= window)
    throw std::invalid_argument("[pool] expected a padding from 0 to below the window of " +
                                std::to_string(window) + ", got " + std::to_string(pad) +
                                ": a window of nothing but padding has no maximum");
  if (h + 2 * pad < window || w + 2 * pad < window)
    throw std::invalid_argument("[pool] expected an input of at least " + std::to_string(window) + "x" +
                                std::to_string(window) + " with padding, got " + std::to_string(h + 2 * pad) +
                                "x" + std::to_string(w + 2 * pad) +
                                ": the output would be empty, use a larger image");
  if (type != RTFQ_F32 && type != RTFQ_BF16 && type != RTFQ_U8)
    throw std::invalid_argument(std::string("[pool] expected f32 or bf16 elements or u8 codes, got ") + type_name(type) +
                                ": convert them first");
  return {n, h, w, c, window, stride, pad, type};
}

int64_t output_height(const PoolShape& s) {
  return (s.h + 2 * s.pad - s.window) / s.stride + 1;
}
int64_t output_width(const PoolShape& s) {
  return (s.w + 2 * s.pad - s.window) / s.stride + 1;
}

// Values of the shape's type and indices of one byte; one comparison for each element of each window, one
// addition for each gradient.
Cost cost(const MaxPoolForward&, const PoolShape& s) {
  const auto bytes = static_cast<double>(element_bytes(s.type));
  return {bytes * elements_x(s) + (bytes + 1) * elements_y(s),
          elements_y(s) * static_cast<double>(s.window * s.window)};
}
Cost cost(const MaxPoolBackward&, const PoolShape& s) {
  const auto bytes = static_cast<double>(element_bytes(s.type));
  return {bytes * elements_x(s) + (bytes + 1) * elements_y(s), elements_y(s)};
}
Cost cost(const AveragePoolForward&, const PoolShape& s) {
  const auto bytes = static_cast<double>(element_bytes(s.type));
  const double written = s.type == RTFQ_U8 ? sizeof(float) : bytes;  // means of codes are f32
  return {bytes * elements_x(s) + written * static_cast<double>(s.n) * s.c, elements_x(s)};
}
Cost cost(const AveragePoolBackward&, const PoolShape& s) {
  const auto bytes = static_cast<double>(element_bytes(s.type));
  return {bytes * (elements_x(s) + static_cast<double>(s.n) * s.c), static_cast<double>(s.n) * s.c};
}

}  // namespace rtfq::kernels
