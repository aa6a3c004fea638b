#include "kernels/conv2d.h"

#include <stdexcept>
#include <string>

namespace rtfq::kernels {
namespace {

void require_positive(const char* what, int64_t value) {
  if (value < 1)
    throw std::invalid_argument(std::string("[conv2d] expected a positive ") + what + ", got " +
                                std::to_string(value) + ": an empty operand cannot be convolved");
}

double elements_x(const Conv2dShape& s) {
  return static_cast<double>(s.n) * s.h * s.w * s.c;
}
double elements_w(const Conv2dShape& s) {
  return static_cast<double>(s.k) * s.r * s.s * s.c;
}
double elements_y(const Conv2dShape& s) {
  return static_cast<double>(s.n) * output_height(s) * output_width(s) * s.k;
}

/// Each operand once; every direction reads two of them and writes the third.
Cost cost_of(const Conv2dShape& s) {
  return {4 * (elements_x(s) + elements_w(s) + elements_y(s)), 2.0 * static_cast<double>(macs(s))};
}

}  // namespace

Conv2dShape make_conv2d_shape(int64_t n, int64_t h, int64_t w, int64_t c, int64_t k, int64_t filter,
                              int64_t stride, int64_t pad, int64_t c_parent) {
  require_positive("number of images", n);
  require_positive("input height", h);
  require_positive("input width", w);
  require_positive("number of input channels", c);
  require_positive("number of output channels", k);
  require_positive("filter size", filter);
  require_positive("stride", stride);
  if (pad < 0)
    throw std::invalid_argument("[conv2d] expected a padding of at least 0, got " + std::to_string(pad) +
                                ": crop the input instead");
  if (c > c_parent)
    throw std::invalid_argument("[conv2d] weight expects at most " + std::to_string(c_parent) +
                                " input channels, got " + std::to_string(c) +
                                ": the subnet is wider than its parent");
  if (h + 2 * pad < filter || w + 2 * pad < filter)
    throw std::invalid_argument("[conv2d] expected an input of at least " + std::to_string(filter) + "x" +
                                std::to_string(filter) + " with padding, got " + std::to_string(h + 2 * pad) +
                                "x" + std::to_string(w + 2 * pad) +
                                ": the output would be empty, use a larger image");
  return {n, h, w, c, k, filter, filter, stride, pad, c_parent, RTFQ_F32, RTFQ_F32, RTFQ_F32};
}

int64_t output_height(const Conv2dShape& s) {
  return (s.h + 2 * s.pad - s.r) / s.stride + 1;
}
int64_t output_width(const Conv2dShape& s) {
  return (s.w + 2 * s.pad - s.s) / s.stride + 1;
}

int64_t macs(const Conv2dShape& s) {
  return s.n * output_height(s) * output_width(s) * s.k * s.r * s.s * s.c;
}

Cost cost(const Conv2dForward&, const Conv2dShape& s) {
  return cost_of(s);
}
Cost cost(const Conv2dDgrad&, const Conv2dShape& s) {
  return cost_of(s);
}
Cost cost(const Conv2dWgrad&, const Conv2dShape& s) {
  return cost_of(s);
}

}  // namespace rtfq::kernels
