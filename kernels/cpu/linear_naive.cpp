#include "kernels/cpu/linear_naive.h"

#include <algorithm>

namespace rtfq::kernels::naive {

namespace {

void forward(const LinearShape& s, const LinearForwardArgs& a) {
  const auto* x = static_cast<const float*>(a.x);
  const auto* w = static_cast<const float*>(a.w);
  auto* y = static_cast<float*>(a.y);
#pragma omp parallel for collapse(2) schedule(static)
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t k = 0; k < s.k; ++k) {
      float sum = a.bias ? a.bias[k] : 0.0f;
      for (int64_t c = 0; c < s.c; ++c) sum += x[n * s.c + c] * w[k * s.c_parent + c];
      y[n * s.k + k] = sum;
    }
}

/// The compiler turns the sum of 16-bit products into vectors: on a machine without VNNI this is the one that
/// runs.
template <class X>
void forward_codes(const LinearShape& s, const LinearForwardArgs& a) {
  const auto* x = static_cast<const X*>(a.x);
  const auto* w = static_cast<const int8_t*>(a.w);
  auto* y = static_cast<float*>(a.y);
#pragma omp parallel for collapse(2) schedule(static)
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t k = 0; k < s.k; ++k) {
      const X* from = x + n * s.c;
      const int8_t* row = w + k * s.c_parent;
      int32_t sum = 0;
      for (int64_t c = 0; c < s.c; ++c) sum += static_cast<int16_t>(from[c]) * static_cast<int16_t>(row[c]);
      const float scaled = a.scale[k] * static_cast<float>(sum);
      y[n * s.k + k] = a.bias ? scaled + a.bias[k] : scaled;
    }
}

}  // namespace

const char* linear_forward_unsupported(const LinearShape& s) {
  return all_f32(s) || on_codes(s) ? nullptr
                                   : "takes f32 operands, or codes with s8 weights and an f32 result";
}
const char* linear_unsupported(const LinearShape& s) {
  return all_f32(s) ? nullptr : "takes f32 operands only";
}

void linear_forward(const LinearShape& s, const LinearForwardArgs& a, Stream) {
  switch (s.x_type) {
    case RTFQ_U8:
      return forward_codes<uint8_t>(s, a);
    case RTFQ_S8:
      return forward_codes<int8_t>(s, a);
    default:
      return forward(s, a);
  }
}

void linear_dgrad(const LinearShape& s, const LinearDgradArgs& a, Stream) {
  const auto* g = static_cast<const float*>(a.g);
  const auto* w = static_cast<const float*>(a.w);
  auto* dx = static_cast<float*>(a.dx);
#pragma omp parallel for schedule(static)
  for (int64_t n = 0; n < s.n; ++n) {
    float* to = dx + n * s.c;
    std::fill_n(to, s.c, 0.0f);
    for (int64_t k = 0; k < s.k; ++k)
      for (int64_t c = 0; c < s.c; ++c) to[c] += g[n * s.k + k] * w[k * s.c_parent + c];
  }
}

void linear_wgrad(const LinearShape& s, const LinearWgradArgs& a, Stream) {
  const auto* x = static_cast<const float*>(a.x);
  const auto* g = static_cast<const float*>(a.g);
#pragma omp parallel for schedule(static)
  for (int64_t k = 0; k < s.k; ++k) {
    float* to = a.dw + k * s.c_parent;
    if (!a.accumulate) std::fill_n(to, s.c, 0.0f);
    float bias = 0;
    for (int64_t n = 0; n < s.n; ++n) {
      const float gradient = g[n * s.k + k];
      for (int64_t c = 0; c < s.c; ++c) to[c] += gradient * x[n * s.c + c];
      bias += gradient;
    }
    if (a.dbias) a.dbias[k] = a.accumulate ? a.dbias[k] + bias : bias;
  }
}

}  // namespace rtfq::kernels::naive
