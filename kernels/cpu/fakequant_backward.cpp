// Fake-quant backward in one pass over g and x: the straight-through gradient of x and the sum for the step's
// gradient (Esser et al., ICLR 2020, equations 2, 3 and 5), and the sum that initializes steps. Sums are
// taken in 32 f32 lanes within a block and in double, in the blocks' order, between blocks: they do not
// depend on the number of threads.
#include "kernels/cpu/fakequant.h"
#include "kernels/cpu/fakequant_partition.h"
#include "kernels/cpu/policy.h"

namespace rtfq::kernels::cpu {
namespace {

/// The first `count` (1 to 7) lanes.
inline __m256i first_lanes(int64_t count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

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

template <bool want_dx, bool accumulate, bool want_ds, bool stream>
void backward_run(const Slopes& slopes, const float* x, const float* g, float* dx, int64_t count,
                  Lanes& lanes) {
  const auto eight = [&](int64_t i, __m256& sum) {
    __m256 result = slopes.backward<want_ds>(_mm256_loadu_ps(x + i), _mm256_loadu_ps(g + i), sum);
    if constexpr (accumulate) result = _mm256_add_ps(_mm256_loadu_ps(dx + i), result);
    if constexpr (want_dx) store<stream>(dx + i, result);
  };
  int64_t i = 0;
  for (; i + 32 <= count; i += 32)
    for (int part = 0; part < 4; ++part) eight(i + 8 * part, lanes.part[part]);
  for (; i + 8 <= count; i += 8) eight(i, lanes.part[0]);
  if (i == count) return;
  // Lanes beyond the end read as zero: their g*t is zero.
  const __m256i mask = first_lanes(count - i);
  __m256 result = slopes.backward<want_ds>(_mm256_maskload_ps(x + i, mask), _mm256_maskload_ps(g + i, mask),
                                           lanes.part[1]);
  if constexpr (accumulate) result = _mm256_add_ps(_mm256_maskload_ps(dx + i, mask), result);
  if constexpr (want_dx) _mm256_maskstore_ps(dx + i, mask, result);
}

template <bool want_dx, bool accumulate, bool want_ds, bool stream>
void backward(const FakeQuantShape& s, const FakeQuantPartition& partition, const FakeQuantBackwardArgs& a) {
  const auto* x = static_cast<const float*>(a.x);
  const auto* g = static_cast<const float*>(a.g);
  auto* dx = static_cast<float*>(a.dx);
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

template <bool want_ds>
void backward(const FakeQuantShape& s, const FakeQuantBackwardArgs& a) {
  const FakeQuantPartition partition(s);
  if (!a.dx)
    backward<false, false, want_ds, false>(s, partition, a);
  else if (a.accumulate_dx)
    backward<true, true, want_ds, false>(s, partition, a);
  else if (partition.dense() && streams(a.dx, count(s)))
    backward<true, false, want_ds, true>(s, partition, a);
  else
    backward<true, false, want_ds, false>(s, partition, a);
}

/// |x|, or max(x, 0) that keeps a NaN: the maximum answers its second operand for one.
template <bool is_signed>
inline __m256 magnitude(__m256 x) {
  if constexpr (is_signed) return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
  return _mm256_max_ps(_mm256_setzero_ps(), x);
}

template <bool is_signed>
void abs_sum(const FakeQuantShape& s, const AbsSumArgs& a) {
  const FakeQuantPartition partition(s);
  const auto* x = static_cast<const float*>(a.x);
  auto* sums = static_cast<double*>(a.workspace);
  const int64_t blocks = partition.blocks(), per_span = partition.blocks_per_span();
#pragma omp parallel for schedule(static) if (count(s) >= parallel_elements)
  for (int64_t block = 0; block < blocks; ++block) {
    Lanes lanes;
    partition.for_each_run(block, [&](int64_t at, int64_t, int64_t n) {
      const float* run = x + at;
      const auto add = [&](__m256& sum, __m256 value) {
        sum = _mm256_add_ps(sum, magnitude<is_signed>(value));
      };
      int64_t i = 0;
      for (; i + 32 <= n; i += 32)
        for (int part = 0; part < 4; ++part) add(lanes.part[part], _mm256_loadu_ps(run + i + 8 * part));
      for (; i + 8 <= n; i += 8) add(lanes.part[0], _mm256_loadu_ps(run + i));
      if (i < n) add(lanes.part[1], _mm256_maskload_ps(run + i, first_lanes(n - i)));
    });
    sums[block] = lanes.total();
  }
  for (int64_t span = 0; span < partition.spans(); ++span) {
    double sum = 0;
    for (int64_t i = 0; i < per_span; ++i) sum += sums[span * per_span + i];
    a.out[span] = static_cast<float>(sum);
  }
}

}  // namespace

void fakequant_backward_avx2(const FakeQuantShape& s, const FakeQuantBackwardArgs& a, Stream) {
  if (a.ds)
    backward<true>(s, a);
  else if (a.dx)
    backward<false>(s, a);
}

void abs_sum_avx2(const FakeQuantShape& s, const AbsSumArgs& a, Stream) {
  s.qn > 0 ? abs_sum<true>(s, a) : abs_sum<false>(s, a);
}

}  // namespace rtfq::kernels::cpu
