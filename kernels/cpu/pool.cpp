// Pooling, channels innermost: loops over blocks of 16 neighbouring channels vectorise, rows are shared out
// to threads. Each output is computed by one thread in a fixed order, so that results do not depend on their
// number.
#include "kernels/pool.h"

#include <immintrin.h>

#include <algorithm>

namespace rtfq::kernels {
namespace {

constexpr int64_t block = 16;

/// What one window sees of one axis: input positions [begin, end), the first of them at place `first` of the
/// window.
struct Range {
  int64_t begin, end, first;
};

inline Range window_range(const PoolShape& s, int64_t out, int64_t size) {
  const int64_t start = out * s.stride - s.pad;
  const int64_t begin = std::max<int64_t>(start, 0);
  return {begin, std::min(start + s.window, size), begin - start};
}

/// Windows [begin, end) whose range contains input position `in`.
inline Range covering(const PoolShape& s, int64_t in, int64_t outputs) {
  const int64_t reach = in + s.pad - s.window;  // windows that start at or before it lie wholly before `in`
  return {reach < 0 ? 0 : reach / s.stride + 1, std::min((in + s.pad) / s.stride + 1, outputs), 0};
}

/// One window of `vectors` * 8 channels in registers.
template <int vectors>
inline void max_of_window(const float* x, int64_t row_step, int64_t column_step, const Range& rows,
                          const Range& columns, int64_t window, float* y, uint8_t* index) {
  __m256 best[vectors];
  __m256i place[vectors];
  for (int v = 0; v < vectors; ++v) {
    best[v] = _mm256_loadu_ps(x + rows.begin * row_step + columns.begin * column_step + 8 * v);
    place[v] = _mm256_set1_epi32(static_cast<int>(rows.first * window + columns.first));
  }
  for (int64_t h = rows.begin; h < rows.end; ++h)
    for (int64_t w = columns.begin; w < columns.end; ++w) {
      const float* from = x + h * row_step + w * column_step;
      const int64_t at = (rows.first + h - rows.begin) * window + columns.first + w - columns.begin;
      const __m256i here = _mm256_set1_epi32(static_cast<int>(at));
      for (int v = 0; v < vectors; ++v) {
        const __m256 value = _mm256_loadu_ps(from + 8 * v);
        // A NaN wins and then only gives way to another one, so that it stays visible.
        const __m256 greater = _mm256_cmp_ps(value, best[v], _CMP_GT_OQ);
        const __m256 wins = _mm256_or_ps(greater, _mm256_cmp_ps(value, value, _CMP_UNORD_Q));
        best[v] = _mm256_blendv_ps(best[v], value, wins);
        place[v] = _mm256_blendv_epi8(place[v], here, _mm256_castps_si256(wins));
      }
    }
  for (int v = 0; v < vectors; ++v) {
    _mm256_storeu_ps(y + 8 * v, best[v]);
    if (!index) continue;
    const __m128i words =
        _mm_packus_epi32(_mm256_castsi256_si128(place[v]), _mm256_extracti128_si256(place[v], 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(index + 8 * v), _mm_packus_epi16(words, words));
  }
}

/// One window of one channel, for the channels behind the last whole vector.
inline void max_of_window_scalar(const float* x, int64_t row_step, int64_t column_step, const Range& rows,
                                 const Range& columns, int64_t window, float* y, uint8_t* index) {
  float best = x[rows.begin * row_step + columns.begin * column_step];
  int64_t place = rows.first * window + columns.first;
  for (int64_t h = rows.begin; h < rows.end; ++h)
    for (int64_t w = columns.begin; w < columns.end; ++w) {
      const float value = x[h * row_step + w * column_step];
      if (!(value > best || value != value)) continue;
      best = value;
      place = (rows.first + h - rows.begin) * window + columns.first + w - columns.begin;
    }
  *y = best;
  if (index) *index = static_cast<uint8_t>(place);
}

void max_forward(const PoolShape& s, const MaxPoolForwardArgs& a, Stream) {
  const auto* x = static_cast<const float*>(a.x);
  auto* y = static_cast<float*>(a.y);
  const int64_t P = output_height(s), Q = output_width(s);
#pragma omp parallel for collapse(2) schedule(static)
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t p = 0; p < P; ++p) {
      const Range rows = window_range(s, p, s.h);
      const float* image = x + n * s.h * s.w * s.c;
      for (int64_t q = 0; q < Q; ++q) {
        const Range columns = window_range(s, q, s.w);
        const int64_t to = ((n * P + p) * Q + q) * s.c;
        const auto run = [&](auto& kernel, int64_t c) {
          kernel(image + c, s.w * s.c, s.c, rows, columns, s.window, y + to + c,
                 a.index ? a.index + to + c : nullptr);
        };
        int64_t c = 0;
        for (; c + 32 <= s.c; c += 32) run(max_of_window<4>, c);
        for (; c + 8 <= s.c; c += 8) run(max_of_window<1>, c);
        for (; c < s.c; ++c) run(max_of_window_scalar, c);
      }
    }
}

/// Gathers: each input pixel asks the few windows that cover it whether it was their maximum. One pass, no
/// zeroing, no two threads adding to one place.
void max_backward(const PoolShape& s, const MaxPoolBackwardArgs& a, Stream) {
  const auto* g = static_cast<const float*>(a.g);
  auto* dx = static_cast<float*>(a.dx);
  const int64_t P = output_height(s), Q = output_width(s);
#pragma omp parallel for collapse(2) schedule(static)
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t h = 0; h < s.h; ++h) {
      const Range rows = covering(s, h, P);
      for (int64_t w = 0; w < s.w; ++w) {
        const Range columns = covering(s, w, Q);
        float* to = dx + ((n * s.h + h) * s.w + w) * s.c;
        std::fill_n(to, s.c, 0.0f);
        for (int64_t p = rows.begin; p < rows.end; ++p)
          for (int64_t q = columns.begin; q < columns.end; ++q) {
            const int64_t at = ((n * P + p) * Q + q) * s.c;
            const auto here =
                static_cast<uint8_t>((h + s.pad - p * s.stride) * s.window + w + s.pad - q * s.stride);
            const float* from = g + at;
            const uint8_t* index = a.index + at;
#pragma omp simd
            for (int64_t c = 0; c < s.c; ++c) to[c] += index[c] == here ? from[c] : 0.0f;
          }
      }
    }
}

void average_forward(const PoolShape& s, const AveragePoolForwardArgs& a, Stream) {
  const auto* x = static_cast<const float*>(a.x);
  auto* y = static_cast<float*>(a.y);
  const int64_t pixels = s.h * s.w, blocks = (s.c + block - 1) / block;
  constexpr int64_t parts = 4;
#pragma omp parallel for collapse(2) schedule(static)
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t c0 = b * block, count = std::min(block, s.c - c0);
      const float* from = x + n * pixels * s.c + c0;
      float sum[parts][block] = {};
      int64_t i = 0;
      if (count == block)
        for (; i + parts <= pixels; i += parts)
          for (int64_t part = 0; part < parts; ++part)
            for (int64_t c = 0; c < block; ++c) sum[part][c] += from[(i + part) * s.c + c];
      for (; i < pixels; ++i)
        for (int64_t c = 0; c < count; ++c) sum[i % parts][c] += from[i * s.c + c];
      for (int64_t c = 0; c < count; ++c)
        y[n * s.c + c0 + c] =
            ((sum[0][c] + sum[1][c]) + (sum[2][c] + sum[3][c])) / static_cast<float>(pixels);
    }
}

void average_backward(const PoolShape& s, const AveragePoolBackwardArgs& a, Stream) {
  const auto* g = static_cast<const float*>(a.g);
  auto* dx = static_cast<float*>(a.dx);
  const int64_t pixels = s.h * s.w;
  const float count = static_cast<float>(pixels);
#pragma omp parallel for schedule(static)
  for (int64_t n = 0; n < s.n; ++n) {
    float* first = dx + n * pixels * s.c;
    for (int64_t c = 0; c < s.c; ++c) first[c] = g[n * s.c + c] / count;
    for (int64_t i = 1; i < pixels; ++i) std::copy_n(first, s.c, first + i * s.c);
  }
}

// Plain versions, written as the definitions in the header read.

void naive_max_forward(const PoolShape& s, const MaxPoolForwardArgs& a, Stream) {
  const auto* x = static_cast<const float*>(a.x);
  auto* y = static_cast<float*>(a.y);
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
              const float value = x[((n * s.h + h) * s.w + w) * s.c + c];
              if (place >= 0 && !(value > best) && value == value) continue;
              best = value;
              place = r * s.window + t;
            }
          const int64_t to = ((n * P + p) * Q + q) * s.c + c;
          y[to] = best;
          if (a.index) a.index[to] = static_cast<uint8_t>(place);
        }
}

void naive_max_backward(const PoolShape& s, const MaxPoolBackwardArgs& a, Stream) {
  const auto* g = static_cast<const float*>(a.g);
  auto* dx = static_cast<float*>(a.dx);
  const int64_t P = output_height(s), Q = output_width(s);
#pragma omp parallel for schedule(static)
  for (int64_t n = 0; n < s.n; ++n) {
    float* image = dx + n * s.h * s.w * s.c;
    std::fill_n(image, s.h * s.w * s.c, 0.0f);
    for (int64_t p = 0; p < P; ++p)
      for (int64_t q = 0; q < Q; ++q)
        for (int64_t c = 0; c < s.c; ++c) {
          const int64_t at = ((n * P + p) * Q + q) * s.c + c;
          const int64_t h = p * s.stride - s.pad + a.index[at] / s.window;
          const int64_t w = q * s.stride - s.pad + a.index[at] % s.window;
          image[(h * s.w + w) * s.c + c] += g[at];
        }
  }
}

void naive_average_forward(const PoolShape& s, const AveragePoolForwardArgs& a, Stream) {
  const auto* x = static_cast<const float*>(a.x);
  auto* y = static_cast<float*>(a.y);
#pragma omp parallel for schedule(static)
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t c = 0; c < s.c; ++c) {
      // One partial sum a row, as the header asks for more than one.
      float sum = 0;
      for (int64_t h = 0; h < s.h; ++h) {
        float row = 0;
        for (int64_t w = 0; w < s.w; ++w) row += x[((n * s.h + h) * s.w + w) * s.c + c];
        sum += row;
      }
      y[n * s.c + c] = sum / static_cast<float>(s.h * s.w);
    }
}

void naive_average_backward(const PoolShape& s, const AveragePoolBackwardArgs& a, Stream) {
  const auto* g = static_cast<const float*>(a.g);
  auto* dx = static_cast<float*>(a.dx);
#pragma omp parallel for schedule(static)
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t i = 0; i < s.h * s.w; ++i)
      for (int64_t c = 0; c < s.c; ++c)
        dx[(n * s.h * s.w + i) * s.c + c] = g[n * s.c + c] / static_cast<float>(s.h * s.w);
}

const char* unsupported(const PoolShape& s) {
  return s.type == RTFQ_F32 ? nullptr : "takes f32 operands only";
}

}  // namespace

std::span<const MaxPoolForward::Impl> MaxPoolForward::cpu() {
  static constexpr Impl list[] = {{"simd", unsupported, max_forward},
                                  {"naive", unsupported, naive_max_forward}};
  return list;
}
std::span<const MaxPoolBackward::Impl> MaxPoolBackward::cpu() {
  static constexpr Impl list[] = {{"simd", unsupported, max_backward},
                                  {"naive", unsupported, naive_max_backward}};
  return list;
}
std::span<const AveragePoolForward::Impl> AveragePoolForward::cpu() {
  static constexpr Impl list[] = {{"simd", unsupported, average_forward},
                                  {"naive", unsupported, naive_average_forward}};
  return list;
}
std::span<const AveragePoolBackward::Impl> AveragePoolBackward::cpu() {
  static constexpr Impl list[] = {{"simd", unsupported, average_backward},
                                  {"naive", unsupported, naive_average_backward}};
  return list;
}

}  // namespace rtfq::kernels
