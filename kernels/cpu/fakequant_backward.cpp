// Fake-quant backward in one pass over g and x: the straight-through gradient of x and the sum for the step's
// gradient (Esser et al., ICLR 2020, equations 2, 3 and 5), and the sum that initializes steps. Sums are
// taken in 32 f32 lanes within a block and in double, in the blocks' order, between blocks: they do not
// depend on the number of threads.
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/fakequant.h"
#include "kernels/cpu/fakequant_partition.h"

namespace rtfq::kernels::cpu {
namespace {

/// 32 partial sums.
struct Lanes {
  __m256 part[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};

  double total() const {
    __m256d sum = _mm256_setzero_pd();
    for (const __m256& p : part)
      sum = _mm256_add_pd(sum, _mm256_add_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(p)),
                                             _mm256_cvtps_pd(_mm256_extractf128_ps(p, 1))));
    alignas(32) double lanes[4];
    _mm256_store_pd(lanes, sum);
    return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
  }
};

struct Slopes {
  __m256 r, low, high;

  /// g where -qn < v < qp (false for a NaN), else 0; and g*t added to `sum`.
  template <bool want_ds>
  __m256 backward(__m256 x, __m256 g, __m256& sum) const {
    const __m256 v = _mm256_mul_ps(x, r);
    const __m256 above_low = _mm256_cmp_ps(v, low, _CMP_GT_OQ),
                 below_high = _mm256_cmp_ps(v, high, _CMP_LT_OQ);
    if constexpr (want_ds) {
      const __m256 error =
          _mm256_sub_ps(_mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), v);
      const __m256 t = _mm256_blendv_ps(low, _mm256_blendv_ps(high, error, below_high), above_low);
      sum = _mm256_fmadd_ps(g, t, sum);
    }
    return _mm256_and_ps(g, _mm256_and_ps(above_low, below_high));
  }
};

template <bool want_dx, bool accumulate, bool want_ds, bool stream, class T>
void backward_run(const Slopes& slopes, const T* x, const T* g, T* dx, int64_t count, Lanes& lanes) {
  const auto eight = [&](int64_t i, __m256& sum) {
    __m256 result = slopes.backward<want_ds>(load8(x + i), load8(g + i), sum);
    if constexpr (accumulate) result = _mm256_add_ps(load8(dx + i), result);
    if constexpr (want_dx) store8<stream>(dx + i, result);
  };
  int64_t i = 0;
  for (; i + 32 <= count; i += 32)
    for (int part = 0; part < 4; ++part) {
      prefetch(x + i, 8 * part);
      prefetch(g + i, 8 * part);
      eight(i + 8 * part, lanes.part[part]);
    }
  for (; i + 8 <= count; i += 8) eight(i, lanes.part[0]);
  if (i == count) return;
  // Lanes beyond the end read as zero: their g*t is zero.
  const int64_t rest = count - i;
  __m256 result = slopes.backward<want_ds>(load_first(x + i, rest), load_first(g + i, rest), lanes.part[1]);
  if constexpr (accumulate) result = _mm256_add_ps(load_first(dx + i, rest), result);
  if constexpr (want_dx) store_first(dx + i, result, rest);
}

template <class T, bool want_dx, bool accumulate, bool want_ds, bool stream>
void backward(const FakeQuantShape& s, const FakeQuantPartition& partition, const FakeQuantBackwardArgs& a) {
  const auto* x = static_cast<const T*>(a.x);
  const auto* g = static_cast<const T*>(a.g);
  auto* dx = static_cast<T*>(a.dx);
  auto* sums = static_cast<double*>(a.workspace);
  const int64_t blocks = partition.blocks(), per_span = partition.blocks_per_span();
#pragma omp parallel for schedule(static) if (count(s) >= parallel_elements)
  for (int64_t block = 0; block < blocks; ++block) {
    const Slopes slopes{_mm256_set1_ps(1.0f / a.step[partition.span_of(block)]),
                        _mm256_set1_ps(static_cast<float>(-s.qn)), _mm256_set1_ps(static_cast<float>(s.qp))};
    Lanes lanes;
    partition.for_each_run(block, [&](int64_t at, int64_t dense, int64_t n) {
      backward_run<want_dx, accumulate, want_ds, stream>(slopes, x + at, g + dense,
                                                         want_dx ? dx + at : nullptr, n, lanes);
    });
    if constexpr (want_ds) sums[block] = lanes.total();
    finish_stores<stream>();
  }
  if constexpr (want_ds)
    for (int64_t span = 0; span < partition.spans(); ++span) {
      double sum = 0;
      for (int64_t i = 0; i < per_span; ++i) sum += sums[span * per_span + i];
      a.ds[span] += static_cast<float>(sum * static_cast<double>(a.grad_scale));
    }
}

template <class T, bool want_ds>
void backward(const FakeQuantShape& s, const FakeQuantBackwardArgs& a) {
  const FakeQuantPartition partition(s);
  if (!a.dx)
    backward<T, false, false, want_ds, false>(s, partition, a);
  else if (a.accumulate_dx)
    backward<T, true, true, want_ds, false>(s, partition, a);
  else if (partition.dense() && streams(static_cast<T*>(a.dx), count(s)))
    backward<T, true, false, want_ds, true>(s, partition, a);
  else
    backward<T, true, false, want_ds, false>(s, partition, a);
}

/// |x|, or max(x, 0) that keeps a NaN: the maximum answers its second operand for one.
template <bool is_signed>
inline __m256 magnitude(__m256 x) {
  if constexpr (is_signed) return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
  return _mm256_max_ps(_mm256_setzero_ps(), x);
}

template <class T, bool is_signed>
void abs_sum(const FakeQuantShape& s, const AbsSumArgs& a) {
  const FakeQuantPartition partition(s);
  const auto* x = static_cast<const T*>(a.x);
  auto* sums = static_cast<double*>(a.workspace);
  const int64_t blocks = partition.blocks(), per_span = partition.blocks_per_span();
#pragma omp parallel for schedule(static) if (count(s) >= parallel_elements)
  for (int64_t block = 0; block < blocks; ++block) {
    Lanes lanes;
    partition.for_each_run(block, [&](int64_t at, int64_t, int64_t n) {
      const T* run = x + at;
      const auto add = [&](__m256& sum, __m256 value) {
        sum = _mm256_add_ps(sum, magnitude<is_signed>(value));
      };
      // Both halves at once: a core that reads one place at a time waits for memory longer.
      const int64_t half = n / 64 * 32;
      for (int64_t at_once = 0; at_once < half; at_once += 32)
        for (const T* from : {run + at_once, run + half + at_once})
          for (int part = 0; part < 4; ++part) {
            prefetch(from, 8 * part);
            add(lanes.part[part], load8(from + 8 * part));
          }
      int64_t i = 2 * half;
      for (; i + 8 <= n; i += 8) add(lanes.part[0], load8(run + i));
      if (i < n) add(lanes.part[1], load_first(run + i, n - i));
    });
    sums[block] = lanes.total();
  }
  for (int64_t span = 0; span < partition.spans(); ++span) {
    double sum = 0;
    for (int64_t i = 0; i < per_span; ++i) sum += sums[span * per_span + i];
    a.out[span] = static_cast<float>(sum);
  }
}

template <class T>
void backward(const FakeQuantShape& s, const FakeQuantBackwardArgs& a) {
  if (a.ds)
    backward<T, true>(s, a);
  else if (a.dx)
    backward<T, false>(s, a);
}

template <class T>
void abs_sum(const FakeQuantShape& s, const AbsSumArgs& a) {
  s.qn > 0 ? abs_sum<T, true>(s, a) : abs_sum<T, false>(s, a);
}

}  // namespace

void fakequant_backward_avx2(const FakeQuantShape& s, const FakeQuantBackwardArgs& a, Stream) {
  s.type == RTFQ_BF16 ? backward<bf16>(s, a) : backward<float>(s, a);
}

void abs_sum_avx2(const FakeQuantShape& s, const AbsSumArgs& a, Stream) {
  s.type == RTFQ_BF16 ? abs_sum<bf16>(s, a) : abs_sum<float>(s, a);
}

}  // namespace rtfq::kernels::cpu
