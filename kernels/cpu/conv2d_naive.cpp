#include "kernels/cpu/conv2d_naive.h"

#include <algorithm>

namespace rtfq::kernels::naive {

void conv2d_forward(const Conv2dShape& shape, const Conv2dForwardArgs& a, Stream) {
  const auto* x = static_cast<const float*>(a.x);
  const auto* weights = static_cast<const float*>(a.packed);
  auto* y = static_cast<float*>(a.y);
  const auto [N, H, W, C, K, R, S, stride, pad, c_parent, x_type, w_type, y_type] = shape;
  const int64_t P = output_height(shape), Q = output_width(shape);
#pragma omp parallel for collapse(2) schedule(static)
  for (int64_t n = 0; n < N; ++n)
    for (int64_t p = 0; p < P; ++p)
      for (int64_t q = 0; q < Q; ++q)
        for (int64_t k = 0; k < K; ++k) {
          float sum = 0;
          for (int64_t r = 0; r < R; ++r) {
            const int64_t h = p * stride - pad + r;
            if (h < 0 || h >= H) continue;
            for (int64_t s = 0; s < S; ++s) {
              const int64_t w = q * stride - pad + s;
              if (w < 0 || w >= W) continue;
              const float* from = x + ((n * H + h) * W + w) * C;
              const float* filter = weights + ((k * R + r) * S + s) * c_parent;
              for (int64_t c = 0; c < C; ++c) sum += from[c] * filter[c];
            }
          }
          y[((n * P + p) * Q + q) * K + k] = sum;
        }
}

void conv2d_dgrad(const Conv2dShape& shape, const Conv2dDgradArgs& a, Stream) {
  const auto* g = static_cast<const float*>(a.g);
  const auto* weights = static_cast<const float*>(a.packed);
  auto* dx = static_cast<float*>(a.dx);
  const auto [N, H, W, C, K, R, S, stride, pad, c_parent, x_type, w_type, y_type] = shape;
  const int64_t P = output_height(shape), Q = output_width(shape);
#pragma omp parallel for collapse(2) schedule(static)
  for (int64_t n = 0; n < N; ++n)
    for (int64_t h = 0; h < H; ++h)
      for (int64_t w = 0; w < W; ++w) {
        float* to = dx + ((n * H + h) * W + w) * C;
        std::fill_n(to, C, 0.0f);
        for (int64_t r = 0; r < R; ++r) {
          const int64_t from_h = h + pad - r;  // p * stride
          if (from_h < 0 || from_h % stride || from_h / stride >= P) continue;
          for (int64_t s = 0; s < S; ++s) {
            const int64_t from_w = w + pad - s;
            if (from_w < 0 || from_w % stride || from_w / stride >= Q) continue;
            const float* from = g + ((n * P + from_h / stride) * Q + from_w / stride) * K;
            for (int64_t k = 0; k < K; ++k) {
              const float* filter = weights + ((k * R + r) * S + s) * c_parent;
              for (int64_t c = 0; c < C; ++c) to[c] += from[k] * filter[c];
            }
          }
        }
      }
}

void conv2d_wgrad(const Conv2dShape& shape, const Conv2dWgradArgs& a, Stream) {
  const auto* x = static_cast<const float*>(a.x);
  const auto* g = static_cast<const float*>(a.g);
  const auto [N, H, W, C, K, R, S, stride, pad, c_parent, x_type, w_type, y_type] = shape;
  const int64_t P = output_height(shape), Q = output_width(shape);
  constexpr int64_t block = 16;
#pragma omp parallel for collapse(3) schedule(static)
  for (int64_t k = 0; k < K; ++k)
    for (int64_t r = 0; r < R; ++r)
      for (int64_t s = 0; s < S; ++s)
        for (int64_t c0 = 0; c0 < C; c0 += block) {
          // In double: one sum runs over all pixels of the batch, where a single f32 chain would lose digits.
          double sum[block] = {};
          const int64_t count = std::min(block, C - c0);
          for (int64_t n = 0; n < N; ++n)
            for (int64_t p = 0; p < P; ++p) {
              const int64_t h = p * stride - pad + r;
              if (h < 0 || h >= H) continue;
              for (int64_t q = 0; q < Q; ++q) {
                const int64_t w = q * stride - pad + s;
                if (w < 0 || w >= W) continue;
                const double gradient = g[((n * P + p) * Q + q) * K + k];
                const float* from = x + ((n * H + h) * W + w) * C + c0;
                for (int64_t c = 0; c < count; ++c) sum[c] += gradient * from[c];
              }
            }
          float* to = a.dw + ((k * R + r) * S + s) * c_parent + c0;
          for (int64_t c = 0; c < count; ++c)
            to[c] = static_cast<float>(a.accumulate ? to[c] + sum[c] : sum[c]);
        }
}

}  // namespace rtfq::kernels::naive
