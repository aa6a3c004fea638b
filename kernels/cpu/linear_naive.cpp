#include "kernels/cpu/linear_naive.h"

#include <algorithm>

namespace rtfq::kernels::naive {

void linear_forward(const LinearShape& s, const LinearForwardArgs& a, Stream) {
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
