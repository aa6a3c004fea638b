// Pooling, channels innermost: loops over blocks of 16 neighbouring channels vectorise, rows are shared out
// to threads. Each output is computed by one thread in a fixed order, so that results do not depend on their
// number.
#include "kernels/pool.h"

#include <algorithm>

#include "kernels/cpu/bf16.h"
#include "kernels/cpu/pool_codes.h"
#include "kernels/cpu/pool_naive.h"

namespace rtfq::kernels {
namespace {

using namespace rtfq::kernels::cpu;

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
template <int vectors, class T>
inline void max_of_window(const T* x, int64_t row_step, int64_t column_step, const Range& rows,
                          const Range& columns, int64_t window, T* y, uint8_t* index) {
  __m256 best[vectors];
  __m256i place[vectors];
  for (int v = 0; v < vectors; ++v) {
    best[v] = load8(x + rows.begin * row_step + columns.begin * column_step + 8 * v);
    place[v] = _mm256_set1_epi32(static_cast<int>(rows.first * window + columns.first));
  }
  for (int64_t h = rows.begin; h < rows.end; ++h)
    for (int64_t w = columns.begin; w < columns.end; ++w) {
      const T* from = x + h * row_step + w * column_step;
      const int64_t at = (rows.first + h - rows.begin) * window + columns.first + w - columns.begin;
      const __m256i here = _mm256_set1_epi32(static_cast<int>(at));
      for (int v = 0; v < vectors; ++v) {
        const __m256 value = load8(from + 8 * v);
        // A NaN wins and then only gives way to another one, so that it stays visible.
        const __m256 greater = _mm256_cmp_ps(value, best[v], _CMP_GT_OQ);
        const __m256 wins = _mm256_or_ps(greater, _mm256_cmp_ps(value, value, _CMP_UNORD_Q));
        best[v] = _mm256_blendv_ps(best[v], value, wins);
        place[v] = _mm256_blendv_epi8(place[v], here, _mm256_castps_si256(wins));
      }
    }
  for (int v = 0; v < vectors; ++v) {
    store8(y + 8 * v, best[v]);
    if (!index) continue;
    const __m128i words =
        _mm_packus_epi32(_mm256_castsi256_si128(place[v]), _mm256_extracti128_si256(place[v], 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(index + 8 * v), _mm_packus_epi16(words, words));
  }
}

/// One window of one channel, for the channels behind the last whole vector.
template <class T>
inline void max_of_window_scalar(const T* x, int64_t row_step, int64_t column_step, const Range& rows,
                                 const Range& columns, int64_t window, T* y, uint8_t* index) {
  float best = load1(x + rows.begin * row_step + columns.begin * column_step);
  int64_t place = rows.first * window + columns.first;
  for (int64_t h = rows.begin; h < rows.end; ++h)
    for (int64_t w = columns.begin; w < columns.end; ++w) {
      const float value = load1(x + h * row_step + w * column_step);
      if (!(value > best || value != value)) continue;
      best = value;
      place = (rows.first + h - rows.begin) * window + columns.first + w - columns.begin;
    }
  store1(y, best);
  if (index) *index = static_cast<uint8_t>(place);
}

template <class T>
void max_forward(const PoolShape& s, const MaxPoolForwardArgs& a) {
  const auto* x = static_cast<const T*>(a.x);
  auto* y = static_cast<T*>(a.y);
  const int64_t P = output_height(s), Q = output_width(s);
#pragma omp parallel for collapse(2) schedule(static)
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t p = 0; p < P; ++p) {
      const Range rows = window_range(s, p, s.h);
      const T* image = x + n * s.h * s.w * s.c;
      for (int64_t q = 0; q < Q; ++q) {
        const Range columns = window_range(s, q, s.w);
        const int64_t to = ((n * P + p) * Q + q) * s.c;
        const auto run = [&](auto& kernel, int64_t c) {
          kernel(image + c, s.w * s.c, s.c, rows, columns, s.window, y + to + c,
                 a.index ? a.index + to + c : nullptr);
        };
        int64_t c = 0;
        for (; c + 32 <= s.c; c += 32) run(max_of_window<4, T>, c);
        for (; c + 8 <= s.c; c += 8) run(max_of_window<1, T>, c);
        for (; c < s.c; ++c) run(max_of_window_scalar<T>, c);
      }
    }
}

/// Gathers: each input pixel asks the few windows that cover it whether it was their maximum. One pass, no
/// zeroing, no two threads adding to one place; sums stay in registers.
template <class T>
void max_backward(const PoolShape& s, const MaxPoolBackwardArgs& a) {
  const auto* g = static_cast<const T*>(a.g);
  auto* dx = static_cast<T*>(a.dx);
  const int64_t P = output_height(s), Q = output_width(s);
#pragma omp parallel for collapse(2) schedule(static)
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t h = 0; h < s.h; ++h) {
      const Range rows = covering(s, h, P);
      for (int64_t w = 0; w < s.w; ++w) {
        const Range columns = covering(s, w, Q);
        T* to = dx + ((n * s.h + h) * s.w + w) * s.c;
        const auto for_each_window = [&](int64_t c, const auto& body) {
          for (int64_t p = rows.begin; p < rows.end; ++p)
            for (int64_t q = columns.begin; q < columns.end; ++q)
              body(((n * P + p) * Q + q) * s.c + c,
                   static_cast<int>((h + s.pad - p * s.stride) * s.window + w + s.pad - q * s.stride));
        };
        int64_t c = 0;
        for (; c + 8 <= s.c; c += 8) {
          __m256 sum = _mm256_setzero_ps();
          for_each_window(c, [&](int64_t at, int here) {
            const __m256i index =
                _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(a.index + at)));
            const __m256i chosen = _mm256_cmpeq_epi32(index, _mm256_set1_epi32(here));
            sum = _mm256_add_ps(sum, _mm256_and_ps(load8(g + at), _mm256_castsi256_ps(chosen)));
          });
          store8(to + c, sum);
        }
        for (; c < s.c; ++c) {
          float sum = 0;
          for_each_window(c, [&](int64_t at, int here) {
            if (a.index[at] == here) sum += load1(g + at);
          });
          store1(to + c, sum);
        }
      }
    }
}

template <class T>
void average_forward(const PoolShape& s, const AveragePoolForwardArgs& a) {
  const auto* x = static_cast<const T*>(a.x);
  auto* y = static_cast<T*>(a.y);
  const int64_t pixels = s.h * s.w, blocks = (s.c + block - 1) / block;
  constexpr int64_t parts = 4;
#pragma omp parallel for collapse(2) schedule(static)
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t c0 = b * block, count = std::min(block, s.c - c0);
      const T* from = x + n * pixels * s.c + c0;
      float sum[parts][block] = {};
      int64_t i = 0;
      if (count == block)
        for (; i + parts <= pixels; i += parts)
          for (int64_t part = 0; part < parts; ++part)
            for (int64_t c = 0; c < block; ++c) sum[part][c] += load1(from + (i + part) * s.c + c);
      for (; i < pixels; ++i)
        for (int64_t c = 0; c < count; ++c) sum[i % parts][c] += load1(from + i * s.c + c);
      for (int64_t c = 0; c < count; ++c)
        store1(y + n * s.c + c0 + c,
               ((sum[0][c] + sum[1][c]) + (sum[2][c] + sum[3][c])) / static_cast<float>(pixels));
    }
}

template <class T>
void average_backward(const PoolShape& s, const AveragePoolBackwardArgs& a) {
  const auto* g = static_cast<const T*>(a.g);
  auto* dx = static_cast<T*>(a.dx);
  const int64_t pixels = s.h * s.w;
  const float count = static_cast<float>(pixels);
#pragma omp parallel for schedule(static)
  for (int64_t n = 0; n < s.n; ++n) {
    T* first = dx + n * pixels * s.c;
    for (int64_t c = 0; c < s.c; ++c) store1(first + c, load1(g + n * s.c + c) / count);
    for (int64_t i = 1; i < pixels; ++i) std::copy_n(first, s.c, first + i * s.c);
  }
}

const char* unsupported(const PoolShape& s) {
  return s.type == RTFQ_F32 || s.type == RTFQ_BF16 ? nullptr : "takes f32 or bf16 operands";
}

void launch_max_forward(const PoolShape& s, const MaxPoolForwardArgs& a, Stream) {
  s.type == RTFQ_BF16 ? max_forward<bf16>(s, a) : max_forward<float>(s, a);
}
void launch_max_backward(const PoolShape& s, const MaxPoolBackwardArgs& a, Stream) {
  s.type == RTFQ_BF16 ? max_backward<bf16>(s, a) : max_backward<float>(s, a);
}
void launch_average_forward(const PoolShape& s, const AveragePoolForwardArgs& a, Stream) {
  s.type == RTFQ_BF16 ? average_forward<bf16>(s, a) : average_forward<float>(s, a);
}
void launch_average_backward(const PoolShape& s, const AveragePoolBackwardArgs& a, Stream) {
  s.type == RTFQ_BF16 ? average_backward<bf16>(s, a) : average_backward<float>(s, a);
}

}  // namespace

std::span<const MaxPoolForward::Impl> MaxPoolForward::cpu() {
  static constexpr Impl list[] = {{"codes", cpu::max_codes_unsupported, cpu::max_codes},
                                  {"simd", unsupported, launch_max_forward},
                                  {"naive", unsupported, naive::max_forward}};
  return list;
}
std::span<const MaxPoolBackward::Impl> MaxPoolBackward::cpu() {
  static constexpr Impl list[] = {{"simd", unsupported, launch_max_backward},
                                  {"naive", unsupported, naive::max_backward}};
  return list;
}
std::span<const AveragePoolForward::Impl> AveragePoolForward::cpu() {
  static constexpr Impl list[] = {{"codes", cpu::average_codes_unsupported, cpu::average_codes},
                                  {"simd", unsupported, launch_average_forward},
                                  {"naive", unsupported, naive::average_forward}};
  return list;
}
std::span<const AveragePoolBackward::Impl> AveragePoolBackward::cpu() {
  static constexpr Impl list[] = {{"simd", unsupported, launch_average_backward},
                                  {"naive", unsupported, naive::average_backward}};
  return list;
}

}  // namespace rtfq::kernels
