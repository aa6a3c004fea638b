// The three sums as kernels/shapes.h writes them, for every row of types.
#include "kernels/cpu/conv2d_naive.h"

#include <algorithm>
#include <vector>

#include "kernels/cpu/bf16.h"

namespace rtfq::kernels::naive {
namespace {

using cpu::load1;
using cpu::store1;

float load1(const uint8_t* code) {
  return *code;
}
float load1(const int8_t* code) {
  return *code;
}

/// A weight as the product sees it: rounded to bf16 beside bf16 activations.
template <class X>
float weight(float w) {
  if constexpr (std::is_same_v<X, bf16>)
    return to_float(to_bf16(w));
  else
    return w;
}

/// Walks the filter taps of output pixel (p, q) that meet the image: body(r, s, h, w).
template <class Body>
void for_each_tap(const Conv2dShape& z, int64_t p, int64_t q, const Body& body) {
  for (int64_t r = 0; r < z.r; ++r)
    for (int64_t s = 0; s < z.s; ++s) {
      const int64_t h = p * z.stride - z.pad + r, w = q * z.stride - z.pad + s;
      if (h >= 0 && h < z.h && w >= 0 && w < z.w) body(r, s, h, w);
    }
}

/// y = finish(k, sum), `Sum` being what X and W add up in.
template <class Sum, class X, class W, class Y, class Finish>
void forward(const Conv2dShape& z, const Conv2dForwardArgs& a, const Finish& finish) {
  const auto* x = static_cast<const X*>(a.x);
  const auto* weights = static_cast<const W*>(a.packed);
  auto* y = static_cast<Y*>(a.y);
  const int64_t P = output_height(z), Q = output_width(z);
#pragma omp parallel for collapse(2) schedule(static)
  for (int64_t n = 0; n < z.n; ++n)
    for (int64_t p = 0; p < P; ++p)
      for (int64_t q = 0; q < Q; ++q)
        for (int64_t k = 0; k < z.k; ++k) {
          Sum sum = 0;
          for_each_tap(z, p, q, [&](int64_t r, int64_t s, int64_t h, int64_t w) {
            const X* from = x + ((n * z.h + h) * z.w + w) * z.c;
            const W* filter = weights + ((k * z.r + r) * z.s + s) * z.c_parent;
            if constexpr (std::is_same_v<Sum, int32_t>)
              for (int64_t c = 0; c < z.c; ++c) sum += static_cast<int32_t>(from[c]) * filter[c];
            else
              for (int64_t c = 0; c < z.c; ++c) sum += load1(from + c) * weight<X>(filter[c]);
          });
          finish(k, sum, y + ((n * P + p) * Q + q) * z.k + k);
        }
}

template <class X>
void forward_codes(const Conv2dShape& z, const Conv2dForwardArgs& a) {
  const auto scaled = [&](int64_t k, int32_t sum, auto* y) {
    store1(y, a.scale[k] * static_cast<float>(sum));
  };
  switch (z.y_type) {
    case RTFQ_F32:
      return forward<int32_t, X, int8_t, float>(z, a, scaled);
    case RTFQ_BF16:
      return forward<int32_t, X, int8_t, bf16>(z, a, scaled);
    default:
      return forward<int32_t, X, int8_t, int32_t>(z, a, [](int64_t, int32_t sum, int32_t* y) { *y = sum; });
  }
}

template <class T>
void forward_floats(const Conv2dShape& z, const Conv2dForwardArgs& a) {
  forward<float, T, float, T>(z, a, [](int64_t, float sum, T* y) { store1(y, sum); });
}

template <class T>
void dgrad(const Conv2dShape& z, const Conv2dDgradArgs& a) {
  const auto* g = static_cast<const T*>(a.g);
  const auto* weights = static_cast<const float*>(a.packed);
  auto* dx = static_cast<T*>(a.dx);
  const int64_t P = output_height(z), Q = output_width(z);
#pragma omp parallel
  {
    std::vector<float> sum(static_cast<std::size_t>(z.c));
#pragma omp for collapse(2) schedule(static)
    for (int64_t n = 0; n < z.n; ++n)
      for (int64_t h = 0; h < z.h; ++h)
        for (int64_t w = 0; w < z.w; ++w) {
          std::fill(sum.begin(), sum.end(), 0.0f);
          for (int64_t r = 0; r < z.r; ++r) {
            const int64_t from_h = h + z.pad - r;  // p * stride
            if (from_h < 0 || from_h % z.stride || from_h / z.stride >= P) continue;
            for (int64_t s = 0; s < z.s; ++s) {
              const int64_t from_w = w + z.pad - s;
              if (from_w < 0 || from_w % z.stride || from_w / z.stride >= Q) continue;
              const T* from = g + ((n * P + from_h / z.stride) * Q + from_w / z.stride) * z.k;
              for (int64_t k = 0; k < z.k; ++k) {
                const float* filter = weights + ((k * z.r + r) * z.s + s) * z.c_parent;
                const float gradient = load1(from + k);
                for (std::size_t c = 0; c < sum.size(); ++c) sum[c] += gradient * weight<T>(filter[c]);
              }
            }
          }
          T* to = dx + ((n * z.h + h) * z.w + w) * z.c;
          for (std::size_t c = 0; c < sum.size(); ++c) store1(to + c, sum[c]);
        }
  }
}

template <class X, class G>
void wgrad(const Conv2dShape& z, const Conv2dWgradArgs& a) {
  const auto* x = static_cast<const X*>(a.x);
  const auto* g = static_cast<const G*>(a.g);
  const int64_t P = output_height(z), Q = output_width(z);
  constexpr int64_t block = 16;
  const float scale = a.scale ? *a.scale : 1.0f;
#pragma omp parallel for collapse(3) schedule(static)
  for (int64_t k = 0; k < z.k; ++k)
    for (int64_t r = 0; r < z.r; ++r)
      for (int64_t s = 0; s < z.s; ++s)
        for (int64_t c0 = 0; c0 < z.c; c0 += block) {
          // In double: one sum runs over all pixels of the batch, where a single f32 chain would lose digits.
          double sum[block] = {};
          const int64_t count = std::min(block, z.c - c0);
          for (int64_t n = 0; n < z.n; ++n)
            for (int64_t p = 0; p < P; ++p) {
              const int64_t h = p * z.stride - z.pad + r;
              if (h < 0 || h >= z.h) continue;
              for (int64_t q = 0; q < Q; ++q) {
                const int64_t w = q * z.stride - z.pad + s;
                if (w < 0 || w >= z.w) continue;
                const double gradient = load1(g + ((n * P + p) * Q + q) * z.k + k);
                const X* from = x + ((n * z.h + h) * z.w + w) * z.c + c0;
                for (int64_t c = 0; c < count; ++c) sum[c] += gradient * load1(from + c);
              }
            }
          float* to = a.dw + ((k * z.r + r) * z.s + s) * z.c_parent + c0;
          for (int64_t c = 0; c < count; ++c) {
            const float scaled = scale * static_cast<float>(sum[c]);
            to[c] = a.accumulate ? to[c] + scaled : scaled;
          }
        }
}

template <class X>
void wgrad_codes(const Conv2dShape& z, const Conv2dWgradArgs& a) {
  z.y_type == RTFQ_BF16 ? wgrad<X, bf16>(z, a) : wgrad<X, float>(z, a);
}

}  // namespace

void conv2d_forward(const Conv2dShape& z, const Conv2dForwardArgs& a, Stream) {
  switch (z.x_type) {
    case RTFQ_U8:
      return forward_codes<uint8_t>(z, a);
    case RTFQ_S8:
      return forward_codes<int8_t>(z, a);
    case RTFQ_BF16:
      return forward_floats<bf16>(z, a);
    default:
      return forward_floats<float>(z, a);
  }
}

void conv2d_dgrad(const Conv2dShape& z, const Conv2dDgradArgs& a, Stream) {
  z.y_type == RTFQ_BF16 ? dgrad<bf16>(z, a) : dgrad<float>(z, a);
}

void conv2d_wgrad(const Conv2dShape& z, const Conv2dWgradArgs& a, Stream) {
  switch (z.x_type) {
    case RTFQ_U8:
      return wgrad_codes<uint8_t>(z, a);
    case RTFQ_S8:
      return wgrad_codes<int8_t>(z, a);
    case RTFQ_BF16:
      return wgrad<bf16, bf16>(z, a);
    default:
      return wgrad<float, float>(z, a);
  }
}

}  // namespace rtfq::kernels::naive
