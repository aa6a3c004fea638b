// Normalize (forward) and apply (backward): one pass each, at memory speed. Channel factors are computed once
// a block and laid out as the lanes of a wide row. One expression an element, the same in vectors and in the
// rest of a row, so that results do not depend on how rows are cut.
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
#pragma omp parallel for schedule(static) if (elements(s) >= parallel_elements)
  for (int64_t i = 0; i < blocks.total(); ++i) {
    Lanes tile;
    const auto [segment, first, rows] = blocks[i];
    const int64_t whole = rows / wide.fold, rest = (rows - whole * wide.fold) * s.c;
    for (int64_t t = 0; t < lanes; t += wide.step()) {
      const int64_t width = std::min(wide.step(), lanes - t), channels = std::min(width, s.c);
      for (int64_t l = 0; l < channels; ++l) set(tile, l, segment, t + l);
      for (int64_t l = channels; l < width; ++l) tile.copy(l - channels, l);
      for (int64_t r = 0; r < whole; ++r) work(tile, first * s.c + r * lanes + t, width);
      if (rest) work(tile, (first + whole * wide.fold) * s.c, rest);
    }
    finish_stores<stream>();
  }
}

struct NormalizeLanes {
  alignas(32) float mean[WideRows::room], factor[WideRows::room], shift[WideRows::room];

  void copy(int64_t from, int64_t to) {
    mean[to] = mean[from];
    factor[to] = factor[from];
    shift[to] = shift[from];
  }
};

template <bool relu, bool stream, class T>
void normalize_row(const NormalizeLanes& f, const T* x, T* y, int64_t lanes) {
  int64_t l = 0;
  for (; l + 8 <= lanes; l += 8) {
    const __m256 mean = _mm256_load_ps(f.mean + l), factor = _mm256_load_ps(f.factor + l),
                 shift = _mm256_load_ps(f.shift + l);
    prefetch(x, l);
    __m256 value = _mm256_fmadd_ps(_mm256_sub_ps(load8(x + l), mean), factor, shift);
    if constexpr (relu) value = _mm256_max_ps(_mm256_setzero_ps(), value);  // its second operand for a NaN
    store8<stream>(y + l, value);
  }
  for (; l < lanes; ++l) {
    const float value = __builtin_fmaf(load1(x + l) - f.mean[l], f.factor[l], f.shift[l]);
    store1(y + l, relu && value < 0.0f ? 0.0f : value);
  }
}

template <bool relu, bool stream, class T>
void normalize(const BatchNormShape& s, const BatchNormNormalizeArgs& a) {
  const auto* x = static_cast<const T*>(a.x);
  auto* y = static_cast<T*>(a.y);
  for_each_row<stream, NormalizeLanes>(
      s,
      [&](NormalizeLanes& f, int64_t l, int segment, int64_t c) {
        const int64_t at = segment * s.c + c;
        f.mean[l] = a.mean[at];
        f.factor[l] = inverse_deviation(a.variance[at], s.epsilon) * a.scale[segment][c];
        f.shift[l] = a.shift[segment][c];
      },
      [&](const NormalizeLanes& f, int64_t at, int64_t n) {
        normalize_row<relu, stream>(f, x + at, y + at, n);
      });
}

struct ApplyLanes {
  alignas(32) float mean[WideRows::room], mean_g[WideRows::room], slope[WideRows::room],
      factor[WideRows::room];

  void copy(int64_t from, int64_t to) {
    mean[to] = mean[from];
    mean_g[to] = mean_g[from];
    slope[to] = slope[from];
    factor[to] = factor[from];
  }
};

template <bool stream, class T>
void apply_row(const ApplyLanes& f, const T* x, const T* g, T* dx, int64_t lanes) {
  int64_t l = 0;
  for (; l + 8 <= lanes; l += 8) {
    prefetch(x, l);
    prefetch(g, l);
    const __m256 centred = _mm256_sub_ps(_mm256_load_ps(f.mean + l), load8(x + l));
    const __m256 projected = _mm256_fmadd_ps(centred, _mm256_load_ps(f.slope + l),
                                             _mm256_sub_ps(load8(g + l), _mm256_load_ps(f.mean_g + l)));
    store8<stream>(dx + l, _mm256_mul_ps(_mm256_load_ps(f.factor + l), projected));
  }
  for (; l < lanes; ++l)
    store1(dx + l,
           f.factor[l] * __builtin_fmaf(f.mean[l] - load1(x + l), f.slope[l], load1(g + l) - f.mean_g[l]));
}

template <bool stream, class T>
void apply(const BatchNormShape& s, const BatchNormApplyArgs& a) {
  const auto* x = static_cast<const T*>(a.x);
  const auto* g = static_cast<const T*>(a.g);
  auto* dx = static_cast<T*>(a.dx);
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
      [&](const ApplyLanes& f, int64_t at, int64_t n) { apply_row<stream>(f, x + at, g + at, dx + at, n); });
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
