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
Cost cost_of(const Conv2dShape& s, rtfq_dtype w_type) {
  const auto bytes = [](rtfq_dtype type) { return static_cast<double>(element_bytes(type)); };
  return {bytes(s.x_type) * elements_x(s) + bytes(w_type) * elements_w(s) + bytes(s.y_type) * elements_y(s),
          2.0 * static_cast<double>(macs(s))};
}

bool is_code(rtfq_dtype type) {
  return type == RTFQ_U8 || type == RTFQ_S8;
}
bool is_float(rtfq_dtype type) {
  return type == RTFQ_F32 || type == RTFQ_BF16;
}

/// f32 or bf16 throughout.
bool one_float_type(const Conv2dShape& s) {
  return is_float(s.x_type) && s.w_type == RTFQ_F32 && s.y_type == s.x_type;
}
bool forward_of_codes(const Conv2dShape& s) {
  return is_code(s.x_type) && s.w_type == RTFQ_S8 && (is_float(s.y_type) || s.y_type == RTFQ_S32);
}
bool wgrad_of_codes(const Conv2dShape& s) {
  return is_code(s.x_type) && s.w_type == RTFQ_F32 && is_float(s.y_type);
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

Conv2dShape with_types(Conv2dShape s, rtfq_dtype x, rtfq_dtype w, rtfq_dtype y) {
  s.x_type = x;
  s.w_type = w;
  s.y_type = y;
  if (!one_float_type(s) && !forward_of_codes(s) && !wgrad_of_codes(s))
    throw std::invalid_argument(
        std::string("[conv2d] expected f32 or bf16 activations with f32 weights, or codes (u8 "
                    "or s8) with s8 weights, got x ") +
        type_name(x) + ", weights " + type_name(w) + ", y " + type_name(y) +
        ": kernels/conv2d.h lists the types that go together");
  const int64_t most = INT32_MAX / (128 * (x == RTFQ_U8 ? 255 : 128));
  if (forward_of_codes(s) && s.r * s.s * s.c > most)
    throw std::invalid_argument("[conv2d] expected at most " + std::to_string(most) +
                                " products in a sum of codes, got " + std::to_string(s.r * s.s * s.c) +
                                ": it could leave 32 bits, use bf16 or split the input channels");
  return s;
}

const char* unsupported_types(const Conv2dForward&, const Conv2dShape& s) {
  return one_float_type(s) || forward_of_codes(s)
             ? nullptr
             : "takes f32 or bf16 activations with f32 weights, or codes with s8 "
               "weights";
}
const char* unsupported_types(const Conv2dDgrad&, const Conv2dShape& s) {
  return one_float_type(s) ? nullptr : "takes f32 or bf16 gradients with f32 weights";
}
const char* unsupported_types(const Conv2dWgrad&, const Conv2dShape& s) {
  return one_float_type(s) || wgrad_of_codes(s) ? nullptr
                                                : "takes f32, bf16 or codes with f32 or bf16 gradients";
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
  Cost total = cost_of(s, s.w_type);
  if (forward_of_codes(s) && s.y_type != RTFQ_S32) {
    total.bytes += 4 * static_cast<double>(s.k);  // one scale a channel
    total.operations += elements_y(s);
  }
  return total;
}
Cost cost(const Conv2dDgrad&, const Conv2dShape& s) {
  return cost_of(s, s.w_type);
}
Cost cost(const Conv2dWgrad&, const Conv2dShape& s) {
  return cost_of(s, RTFQ_F32);  // the gradient, whatever the weights are
}

}  // namespace rtfq::kernels
