// The mean: row after row is added to one row of 32-bit sums, so that whole vectors are read whatever h*w is.
// Reads a byte an element; the sums of 2048 channels take 8 KB and stay in the first-level cache. The
// maximum: an output pixel at a time, whole vectors of channels.
#include "kernels/cpu/pool_codes.h"

#include <immintrin.h>

#include <algorithm>

#include "kernels/cpu/policy.h"

namespace rtfq::kernels::cpu {

const char* average_codes_unsupported(const PoolShape& s) {
  if (s.type != RTFQ_U8) return "takes u8 codes only";
  return s.h * s.w > (int64_t{1} << 23) ? "sums of this many codes do not fit in 32 bits" : nullptr;
}

void average_codes(const PoolShape& s, const AveragePoolForwardArgs& a, Stream) {
  constexpr int64_t tile = 512;  // channels at a time: the sums are on the stack
  const auto* x = static_cast<const uint8_t*>(a.x);
  auto* y = static_cast<float*>(a.y);
  const int64_t hw = s.h * s.w;
  const auto divisor = static_cast<float>(hw);
#pragma omp parallel for collapse(2) schedule(static)
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t first = 0; first < s.c; first += tile) {
      const int64_t channels = std::min(tile, s.c - first);
      int32_t sums[tile] = {};
      for (int64_t i = 0; i < hw; ++i) {
        const uint8_t* row = x + (n * hw + i) * s.c + first;
        for (int64_t c = 0; c < channels; ++c) sums[c] += row[c];
      }
      float* to = y + n * s.c + first;
      for (int64_t c = 0; c < channels; ++c) to[c] = static_cast<float>(sums[c]) / divisor;
      if (a.scale)
        for (int64_t c = 0; c < channels; ++c) to[c] *= a.scale[0];
    }
}

const char* max_codes_unsupported(const PoolShape& s) {
  return s.type == RTFQ_U8 ? nullptr : "takes u8 codes only";
}

void max_codes(const PoolShape& s, const MaxPoolForwardArgs& a, Stream) {
  const auto* x = static_cast<const uint8_t*>(a.x);
  auto* y = static_cast<uint8_t*>(a.y);
  const int64_t height = output_height(s), width = output_width(s);
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < s.n * height; ++row) {
    const int64_t top = row % height * s.stride - s.pad, first = std::max<int64_t>(top, 0),
                  last = std::min(top + s.window, s.h);
    const uint8_t* image = x + row / height * s.h * s.w * s.c;
    for (int64_t q = 0; q < width; ++q) {
      const int64_t start = q * s.stride - s.pad, left = std::max<int64_t>(start, 0),
                    right = std::min(start + s.window, s.w);
      uint8_t* to = y + (row * width + q) * s.c;
      const auto each = [&](int64_t c, auto f) RTFQ_INLINE_LAMBDA {
        for (int64_t h = first; h < last; ++h)
          for (int64_t w = left; w < right; ++w) f(image + (h * s.w + w) * s.c + c);
      };
      int64_t c = 0;
      for (; c + 32 <= s.c; c += 32) {
        __m256i most = _mm256_setzero_si256();
        each(c, [&](const uint8_t* from) RTFQ_INLINE_LAMBDA {
          most = _mm256_max_epu8(most, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
        });
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + c), most);
      }
      for (; c < s.c; ++c) {
        uint8_t most = 0;
        each(c, [&](const uint8_t* from) { most = std::max(most, *from); });
        to[c] = most;
      }
    }
  }
}

}  // namespace rtfq::kernels::cpu
