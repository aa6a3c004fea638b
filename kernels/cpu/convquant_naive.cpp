// The fused convolution as the header's formulas read, one output at a time.
#include <cmath>

#include "kernels/cpu/convquant.h"

namespace rtfq::kernels::cpu {
namespace {

uint8_t code_of(float z, const float* step, int32_t qp) {
  const float v = z * (1.0f / *step), high = static_cast<float>(qp);
  return static_cast<uint8_t>(!(v > 0.0f) ? 0.0f : v >= high ? high : std::nearbyintf(v));
}

template <class X>
int32_t sum_at(const Conv2dShape& s, const X* x, const int8_t* w, int64_t n, int64_t p, int64_t q,
               int64_t k) {
  int32_t sum = 0;
  for (int64_t r = 0; r < s.r; ++r)
    for (int64_t t = 0; t < s.s; ++t) {
      const int64_t h = p * s.stride - s.pad + r, v = q * s.stride - s.pad + t;
      if (h < 0 || h >= s.h || v < 0 || v >= s.w) continue;
      for (int64_t c = 0; c < s.c; ++c)
        sum += x[((n * s.h + h) * s.w + v) * s.c + c] * w[((k * s.r + r) * s.s + t) * s.c_parent + c];
    }
  return sum;
}

}  // namespace

void convquant_naive(const ConvQuantShape& s, const ConvQuantArgs& a, Stream) {
  const int64_t height = output_height(s.conv), width = output_width(s.conv), k = s.conv.k;
  const auto* w = static_cast<const int8_t*>(a.packed);
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < s.conv.n * height; ++row)
    for (int64_t i = 0; i < width * k; ++i) {
      const int64_t n = row / height, p = row % height, at = row * width * k + i, o = i % k;
      const int32_t sum = s.conv.x_type == RTFQ_U8
                              ? sum_at(s.conv, static_cast<const uint8_t*>(a.x), w, n, p, i / k, o)
                              : sum_at(s.conv, static_cast<const int8_t*>(a.x), w, n, p, i / k, o);
      const float y = a.scale[o] * static_cast<float>(sum);
      float z = std::fma(y - a.mean[o], a.factor[o], a.shift[o]);
      if (s.residual == RTFQ_RESIDUAL_VALUES) z += static_cast<const float*>(a.residual)[at];
      if (s.residual == RTFQ_RESIDUAL_CODES) {
        const float value =
            static_cast<float>(static_cast<const uint8_t*>(a.residual)[at]) * *a.residual_step;
        z += value;
      }
      if (!s.quantized) {
        static_cast<float*>(a.y)[at] = z;
        continue;
      }
      static_cast<uint8_t*>(a.y)[at] = code_of(z, a.step, s.qp);
      if (s.identity == RTFQ_IDENTITY_CODES)
        static_cast<uint8_t*>(a.identity)[at] = code_of(z, a.identity_step, s.identity_qp);
      if (s.identity == RTFQ_IDENTITY_VALUES) static_cast<float*>(a.identity)[at] = z < 0.0f ? 0.0f : z;
    }
}

}  // namespace rtfq::kernels::cpu
