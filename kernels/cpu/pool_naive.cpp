// Pooling, written as the definitions in the header read.
#include "kernels/cpu/pool_naive.h"

#include <vector>

#include "kernels/cpu/bf16.h"

namespace rtfq::kernels::naive {
namespace {

using cpu::load1;
using cpu::store1;

template <class T>
void max_forward(const PoolShape& s, const MaxPoolForwardArgs& a) {
  const auto* x = static_cast<const T*>(a.x);
  auto* y = static_cast<T*>(a.y);
  const int64_t P = output_height(s), Q = output_width(s);
#pragma omp parallel for schedule(static)
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t p = 0; p < P; ++p)
      for (int64_t q = 0; q < Q; ++q)
        for (int64_t c = 0; c < s.c; ++c) {
          float best = 0;
          int64_t place = -1;
          for (int64_t r = 0; r < s.window; ++r)
            for (int64_t t = 0; t < s.window; ++t) {
              const int64_t h = p * s.stride - s.pad + r, w = q * s.stride - s.pad + t;
              if (h < 0 || h >= s.h || w < 0 || w >= s.w) continue;
              const float value = load1(x + ((n * s.h + h) * s.w + w) * s.c + c);
              if (place >= 0 && !(value > best) && value == value) continue;
              best = value;
              place = r * s.window + t;
            }
          const int64_t to = ((n * P + p) * Q + q) * s.c + c;
          store1(y + to, best);
          if (a.index) a.index[to] = static_cast<uint8_t>(place);
        }
}

template <class T>
void max_backward(const PoolShape& s, const MaxPoolBackwardArgs& a) {
  const auto* g = static_cast<const T*>(a.g);
  auto* dx = static_cast<T*>(a.dx);
  const int64_t P = output_height(s), Q = output_width(s);
#pragma omp parallel for schedule(static)
  for (int64_t n = 0; n < s.n; ++n) {
    std::vector<float> image(static_cast<std::size_t>(s.h * s.w * s.c), 0.0f);
    for (int64_t p = 0; p < P; ++p)
      for (int64_t q = 0; q < Q; ++q)
        for (int64_t c = 0; c < s.c; ++c) {
          const int64_t at = ((n * P + p) * Q + q) * s.c + c;
          const int64_t h = p * s.stride - s.pad + a.index[at] / s.window;
          const int64_t w = q * s.stride - s.pad + a.index[at] % s.window;
          image[static_cast<std::size_t>((h * s.w + w) * s.c + c)] += load1(g + at);
        }
    for (std::size_t i = 0; i < image.size(); ++i)
      store1(dx + n * s.h * s.w * s.c + static_cast<int64_t>(i), image[i]);
  }
}

template <class T>
void average_forward(const PoolShape& s, const AveragePoolForwardArgs& a) {
  const auto* x = static_cast<const T*>(a.x);
  auto* y = static_cast<T*>(a.y);
#pragma omp parallel for schedule(static)
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t c = 0; c < s.c; ++c) {
      // One partial sum a row, as the header asks for more than one.
      float sum = 0;
      for (int64_t h = 0; h < s.h; ++h) {
        float row = 0;
        for (int64_t w = 0; w < s.w; ++w) row += load1(x + ((n * s.h + h) * s.w + w) * s.c + c);
        sum += row;
      }
      store1(y + n * s.c + c, sum / static_cast<float>(s.h * s.w));
    }
}

template <class T>
void average_backward(const PoolShape& s, const AveragePoolBackwardArgs& a) {
  const auto* g = static_cast<const T*>(a.g);
  auto* dx = static_cast<T*>(a.dx);
#pragma omp parallel for schedule(static)
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t i = 0; i < s.h * s.w; ++i)
      for (int64_t c = 0; c < s.c; ++c)
        store1(dx + (n * s.h * s.w + i) * s.c + c, load1(g + n * s.c + c) / static_cast<float>(s.h * s.w));
}

}  // namespace

void max_forward(const PoolShape& s, const MaxPoolForwardArgs& a, Stream) {
  s.type == RTFQ_BF16 ? max_forward<bf16>(s, a) : max_forward<float>(s, a);
}
void max_backward(const PoolShape& s, const MaxPoolBackwardArgs& a, Stream) {
  s.type == RTFQ_BF16 ? max_backward<bf16>(s, a) : max_backward<float>(s, a);
}
void average_forward(const PoolShape& s, const AveragePoolForwardArgs& a, Stream) {
  s.type == RTFQ_BF16 ? average_forward<bf16>(s, a) : average_forward<float>(s, a);
}
void average_backward(const PoolShape& s, const AveragePoolBackwardArgs& a, Stream) {
  s.type == RTFQ_BF16 ? average_backward<bf16>(s, a) : average_backward<float>(s, a);
}

}  // namespace rtfq::kernels::naive
