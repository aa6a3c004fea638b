// The mean: row after row is added to one row of 32-bit sums, so that whole vectors are read whatever h*w is.
// Reads a byte an element; the sums of 2048 channels take 8 KB and stay in the first-level cache. The
// maximum: an output row at a time, whole vectors of channels.
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

namespace {

/// One row of the maximum over windows of 3 by 3, 2 apart, of channels [c, c + 32). Rows and columns outside
/// are those at the border again, which changes no maximum; each third column is the next window's first.
void max_row_of_3(const PoolShape& s, const uint8_t* image, int64_t top, int64_t c, uint8_t* to) {
  const uint8_t* rows[3];
  for (int64_t i = 0; i < 3; ++i) rows[i] = image + std::clamp<int64_t>(top + i, 0, s.h - 1) * s.w * s.c + c;
  const auto column = [&](int64_t w) RTFQ_INLINE_LAMBDA {
    const auto load = [&](int i) RTFQ_INLINE_LAMBDA {
      return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[i] + w * s.c));
    };
    return _mm256_max_epu8(_mm256_max_epu8(load(0), load(1)), load(2));
  };
  const int64_t width = output_width(s);
  __m256i first = column(0);
  for (int64_t q = 0; q < width; ++q) {
    const int64_t start = 2 * q - s.pad;
    const __m256i last = column(std::min(start + 2, s.w - 1));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + q * s.c + c),
                        _mm256_max_epu8(_mm256_max_epu8(first, column(start + 1)), last));
    first = last;
  }
}

/// One row of any maximum, of channels from c on.
void max_row(const PoolShape& s, const uint8_t* image, int64_t top, int64_t c, uint8_t* to) {
  const int64_t first = std::max<int64_t>(top, 0), last = std::min(top + s.window, s.h);
  for (int64_t q = 0; q < output_width(s); ++q, to += s.c) {
    const int64_t start = q * s.stride - s.pad, left = std::max<int64_t>(start, 0),
                  right = std::min(start + s.window, s.w);
    const auto each = [&](int64_t at, auto f) RTFQ_INLINE_LAMBDA {
      for (int64_t h = first; h < last; ++h)
        for (int64_t w = left; w < right; ++w) f(image + (h * s.w + w) * s.c + at);
    };
    int64_t at = c;
    for (; at + 32 <= s.c; at += 32) {
      __m256i most = _mm256_setzero_si256();
      each(at, [&](const uint8_t* from) RTFQ_INLINE_LAMBDA {
        most = _mm256_max_epu8(most, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
      });
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + at), most);
    }
    for (; at < s.c; ++at) {
      uint8_t most = 0;
      each(at, [&](const uint8_t* from) { most = std::max(most, *from); });
      to[at] = most;
    }
  }
}

}  // namespace

void max_codes(const PoolShape& s, const MaxPoolForwardArgs& a, Stream) {
  const auto* x = static_cast<const uint8_t*>(a.x);
  auto* y = static_cast<uint8_t*>(a.y);
  const int64_t height = output_height(s), row_codes = output_width(s) * s.c;
  const bool of_3 = s.window == 3 && s.stride == 2 && s.pad <= 1 && s.w >= 2;
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < s.n * height; ++row) {
    const int64_t top = row % height * s.stride - s.pad;
    const uint8_t* image = x + row / height * s.h * s.w * s.c;
    uint8_t* to = y + row * row_codes;
    int64_t c = 0;
    if (of_3)
      for (; c + 32 <= s.c; c += 32) max_row_of_3(s, image, top, c, to);
    if (c < s.c) max_row(s, image, top, c, to);
  }
}

}  // namespace rtfq::kernels::cpu
