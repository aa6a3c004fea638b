// Normalize (forward) and apply (backward): one pass each, at memory speed. Channel factors are computed once
// a block and laid out as the lanes of a wide row. One expression an element, the same in vectors and in the
// rest of a row, so that results do not depend on how rows are cut.
#include <type_traits>

#include "kernels/cpu/batchnorm.h"
#include "kernels/cpu/batchnorm_layout.h"
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/policy.h"

namespace rtfq::kernels::cpu {
namespace {

/// Large enough that computing the factors does not show.
RowBlocks blocks_of(const BatchNormShape& s, const WideRows& wide) {
  constexpr int64_t least_elements = 32768, least_wide_rows = 64;
  return {s, std::max((least_elements + s.c - 1) / s.c, least_wide_rows * wide.fold)};
}

/// Walks all rows. `Lanes` holds the factors of one tile, `set(lanes, lane, segment, channel)` fills one lane
/// and `row(lanes, offset, count)` works on a stretch of a wide row.
template <bool stream, class Lanes, class Set, class Work>
void for_each_row(const BatchNormShape& s, Set&& set, Work&& work) {
  const WideRows wide(s.c);
  const RowBlocks blocks = blocks_of(s, wide);
  const int64_t lanes = wide.lanes();
  constexpr std::integral_constant<int, 1> one;
  constexpr std::integral_constant<int, 4> four;
#pragma omp parallel for schedule(static) if (elements(s) >= parallel_elements)
  for (int64_t i = 0; i < blocks.total(); ++i) {
    Lanes tile;
    const auto [segment, first, rows] = blocks[i];
    const int64_t whole = rows / wide.fold, rest = (rows - whole * wide.fold) * s.c;
    for (int64_t t = 0; t < lanes; t += wide.step()) {
      const int64_t width = std::min(wide.step(), lanes - t), channels = std::min(width, s.c);
      for (int64_t l = 0; l < channels; ++l) set(tile, l, segment, t + l);
      for (int64_t l = channels; l < width; ++l) tile.copy(l - channels, l);
      int64_t r = 0;
      if (wide.four_rows())
        for (; r + 4 <= whole; r += 4) work(tile, first * s.c + r * lanes + t, width, four);
      for (; r < whole; ++r) work(tile, first * s.c + r * lanes + t, width, one);
      if (rest) work(tile, (first + whole * wide.fold) * s.c, rest, one);
    }
    finish_stores<stream>();
  }
}

struct NormalizeLanes {
  alignas(32) float mean[WideRows::tile], factor[WideRows::tile], shift[WideRows::tile];

  void copy(int64_t from, int64_t to) {
    mean[to] = mean[from];
    factor[to] = factor[from];
    shift[to] = shift[from];
  }
};

template <bool relu, bool stream, int rows, class T>
void normalize_rows(const NormalizeLanes& f, const T* x, T* y, int64_t stride, int64_t lanes) {
  int64_t l = 0;
  for (; l + 8 <= lanes; l += 8) {
    const __m256 mean = _mm256_load_ps(f.mean + l), factor = _mm256_load_ps(f.factor + l),
                 shift = _mm256_load_ps(f.shift + l);
    for (int row = 0; row < rows; ++row) {
      const int64_t at = row * stride + l;
      __m256 value = _mm256_fmadd_ps(_mm256_sub_ps(load8(x + at), mean), factor, shift);
      if constexpr (relu) value = _mm256_max_ps(_mm256_setzero_ps(), value);  // its second operand for a NaN
      store8<stream>(y + at, value);
    }
  }
  for (; l < lanes; ++l)
    for (int row = 0; row < rows; ++row) {
      const int64_t at = row * stride + l;
      const float value = __builtin_fmaf(load1(x + at) - f.mean[l], f.factor[l], f.shift[l]);
      store1(y + at, relu && value < 0.0f ? 0.0f : value);
    }
}

template <bool relu, bool stream, class T>
void normalize(const BatchNormShape& s, const BatchNormNormalizeArgs& a) {
  const auto* x = static_cast<const T*>(a.x);
  auto* y = static_cast<T*>(a.y);
  const int64_t stride = WideRows(s.c).lanes();
  for_each_row<stream, NormalizeLanes>(
      s,
      [&](NormalizeLanes& f, int64_t l, int segment, int64_t c) {
        const int64_t at = segment * s.c + c;
        f.mean[l] = a.mean[at];
        f.factor[l] = inverse_deviation(a.variance[at], s.epsilon) * a.scale[segment][c];
        f.shift[l] = a.shift[segment][c];
      },
      [&](const NormalizeLanes& f, int64_t at, int64_t n, auto rows) {
        normalize_rows<relu, stream, rows()>(f, x + at, y + at, stride, n);
      });
}

struct ApplyLanes {
  alignas(32) float mean[WideRows::tile], mean_g[WideRows::tile], slope[WideRows::tile],
      factor[WideRows::tile];

  void copy(int64_t from, int64_t to) {
    mean[to] = mean[from];
    mean_g[to] = mean_g[from];
    slope[to] = slope[from];
    factor[to] = factor[from];
  }
};

template <bool stream, int rows, class T>
void apply_rows(const ApplyLanes& f, const T* x, const T* g, T* dx, int64_t stride, int64_t lanes) {
  int64_t l = 0;
  for (; l + 8 <= lanes; l += 8) {
    const __m256 mean = _mm256_load_ps(f.mean + l), mean_g = _mm256_load_ps(f.mean_g + l),
                 slope = _mm256_load_ps(f.slope + l), factor = _mm256_load_ps(f.factor + l);
    for (int row = 0; row < rows; ++row) {
      const int64_t at = row * stride + l;
      const __m256 centred = _mm256_sub_ps(mean, load8(x + at));
      const __m256 projected = _mm256_fmadd_ps(centred, slope, _mm256_sub_ps(load8(g + at), mean_g));
      store8<stream>(dx + at, _mm256_mul_ps(factor, projected));
    }
  }
  for (; l < lanes; ++l)
    for (int row = 0; row < rows; ++row) {
      const int64_t at = row * stride + l;
      store1(dx + at, f.factor[l] *
                          __builtin_fmaf(f.mean[l] - load1(x + at), f.slope[l], load1(g + at) - f.mean_g[l]));
    }
}

template <bool stream, class T>
void apply(const BatchNormShape& s, const BatchNormApplyArgs& a) {
  const auto* x = static_cast<const T*>(a.x);
  const auto* g = static_cast<const T*>(a.g);
  auto* dx = static_cast<T*>(a.dx);
  const int64_t stride = WideRows(s.c).lanes();
  for_each_row<stream, ApplyLanes>(
      s,
      [&](ApplyLanes& f, int64_t l, int segment, int64_t c) {
        const int64_t at = segment * s.c + c;
        const float inverse = inverse_deviation(a.variance[at], s.epsilon);
        f.mean[l] = a.mean[at];
        f.mean_g[l] = a.sum_g[at] / a.counts[segment];
        f.slope[l] = inverse * (a.sum_gx[at] / a.counts[segment]);
        f.factor[l] = a.scale[segment][c] * inverse;
      },
      [&](const ApplyLanes& f, int64_t at, int64_t n, auto rows) {
        apply_rows<stream, rows()>(f, x + at, g + at, dx + at, stride, n);
      });
}

/// Streamed stores want aligned rows and a result that is not also an operand, which is in the caches then.
template <class T>
bool streamed(const BatchNormShape& s, const void* from, const void* to) {
  return s.c % 8 == 0 && from != to && streams(static_cast<const T*>(to), s.n * s.hw * s.c);
}

template <class T>
void normalize(const BatchNormShape& s, const BatchNormNormalizeArgs& a) {
  if (streamed<T>(s, a.x, a.y))
    a.relu ? normalize<true, true, T>(s, a) : normalize<false, true, T>(s, a);
  else
    a.relu ? normalize<true, false, T>(s, a) : normalize<false, false, T>(s, a);
}

template <class T>
void apply(const BatchNormShape& s, const BatchNormApplyArgs& a) {
  if (streamed<T>(s, a.g, a.dx) && a.x != a.dx)
    apply<true, T>(s, a);
  else
    apply<false, T>(s, a);
}

}  // namespace

void batchnorm_normalize_avx2(const BatchNormShape& s, const BatchNormNormalizeArgs& a, Stream) {
  s.type == RTFQ_BF16 ? normalize<bf16>(s, a) : normalize<float>(s, a);
}

void batchnorm_apply_avx2(const BatchNormShape& s, const BatchNormApplyArgs& a, Stream) {
  s.type == RTFQ_BF16 ? apply<bf16>(s, a) : apply<float>(s, a);
}

}  // namespace rtfq::kernels::cpu
