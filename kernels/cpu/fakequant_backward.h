#pragma once
// Fake-quant backward in one pass over g and x: the straight-through gradient of x and the sum for the step's
// gradient (Esser et al., ICLR 2020, equations 2, 3 and 5), and the sum that initializes steps. Sums are
// taken in 32 f32 lanes within a block and in double, in the blocks' order, between blocks: they depend
// neither on the number of threads nor on the instructions. Included by the files that name those
// (fakequant_avx2.cpp).

#include "kernels/cpu/f16.h"
#include "kernels/cpu/fakequant.h"
#include "kernels/cpu/fakequant_partition.h"
#include "kernels/cpu/lanes.h"

namespace rtfq::kernels::cpu {

/// 32 partial sums.
template <class V>
RTFQ_INLINE double total(const typename V::Run& lanes) {
  auto sums = V::no_doubles();
  for (const auto& part : lanes.part) V::add_to(sums, part);
  return total<V>(sums);
}

template <class V>
struct Slopes {
  typename V::Floats r, low, high;

  RTFQ_INLINE Slopes(const FakeQuantShape& s, float step)
      : r(V::all(1.0f / step)),
        low(V::all(static_cast<float>(-s.qn))),
        high(V::all(static_cast<float>(s.qp))) {}

  /// g where -qn < v < qp (false for a NaN), else 0; and g*t added to `sum`.
  template <bool want_ds>
  RTFQ_INLINE typename V::Floats backward(typename V::Floats x, typename V::Floats g,
                                          typename V::Floats& sum) const {
    const auto v = V::multiply(x, r);
    const auto above_low = V::less(low, v), below_high = V::less(v, high);
    if constexpr (want_ds) {
      const auto error = V::subtract(V::round(v), v);
      sum = V::multiply_add(g, V::choose(above_low, V::choose(below_high, error, high), low), sum);
    }
    return V::where(V::both(above_low, below_high), g);
  }
};

template <class V, bool want_dx, bool accumulate, bool want_ds, bool stream, class T>
RTFQ_INLINE void backward_run(const Slopes<V>& slopes, const T* x, const T* g, T* dx, int64_t count,
                              typename V::Run& sum) {
  for_each_run_of_32(count, [&](int64_t i, int64_t rest) RTFQ_INLINE_LAMBDA {
    prefetch_run(x + i);
    prefetch_run(g + i);
    // Lanes beyond the end read as zero: their g*t is zero.
    auto of_x = read_run<V>(x + i, rest), result = read_run<V>(g + i, rest);
    for (int part = 0; part < 2; ++part)
      result.part[part] =
          slopes.template backward<want_ds>(of_x.part[part], result.part[part], sum.part[part]);
    if constexpr (accumulate) {
      const auto before = read_run<V>(dx + i, rest);
      for (int part = 0; part < 2; ++part) result.part[part] = V::add(before.part[part], result.part[part]);
    }
    if constexpr (want_dx) write_run<V, !accumulate>(dx + i, result, rest, stream);
  });
}

template <class V, class T, bool want_dx, bool accumulate, bool want_ds, bool stream>
void fakequant_backward(const FakeQuantShape& s, const FakeQuantPartition& partition,
                        const FakeQuantBackwardArgs& a) {
  const auto* x = static_cast<const T*>(a.x);
  const auto* g = static_cast<const T*>(a.g);
  auto* dx = static_cast<T*>(a.dx);
  auto* sums = static_cast<double*>(a.workspace);
  const int64_t blocks = partition.blocks(), per_span = partition.blocks_per_span();
#pragma omp parallel for schedule(static) if (count(s) >= parallel_elements)
  for (int64_t block = 0; block < blocks; ++block) {
    const Slopes<V> slopes(s, a.step[partition.span_of(block)]);
    typename V::Run sum{{V::all(0.0f), V::all(0.0f)}};
    partition.for_each_run(block, [&](int64_t at, int64_t dense, int64_t n) RTFQ_INLINE_LAMBDA {
      backward_run<V, want_dx, accumulate, want_ds, stream>(slopes, x + at, g + dense,
                                                            want_dx ? dx + at : nullptr, n, sum);
    });
    if constexpr (want_ds) sums[block] = total<V>(sum);
    finish_stores<stream>();
  }
  if constexpr (want_ds)
    for (int64_t span = 0; span < partition.spans(); ++span) {
      double sum = 0;
      for (int64_t i = 0; i < per_span; ++i) sum += sums[span * per_span + i];
      a.ds[span] += static_cast<float>(sum * static_cast<double>(a.grad_scale));
    }
}

template <class V, class T, bool want_ds>
void fakequant_backward(const FakeQuantShape& s, const FakeQuantBackwardArgs& a) {
  const FakeQuantPartition partition(s);
  if (!a.dx)
    fakequant_backward<V, T, false, false, want_ds, false>(s, partition, a);
  else if (a.accumulate_dx)
    fakequant_backward<V, T, true, true, want_ds, false>(s, partition, a);
  else if (partition.dense() && streams(static_cast<T*>(a.dx), count(s)))
    fakequant_backward<V, T, true, false, want_ds, true>(s, partition, a);
  else
    fakequant_backward<V, T, true, false, want_ds, false>(s, partition, a);
}

template <class V, class T>
void fakequant_backward(const FakeQuantShape& s, const FakeQuantBackwardArgs& a) {
  if (a.ds)
    fakequant_backward<V, T, true>(s, a);
  else if (a.dx)
    fakequant_backward<V, T, false>(s, a);
}

/// |x|, or max(x, 0) that keeps a NaN: the maximum answers its second operand for one.
template <class V, bool is_signed>
RTFQ_INLINE typename V::Floats magnitude(typename V::Floats x) {
  if constexpr (is_signed) return V::absolute(x);
  return V::maximum(V::all(0.0f), x);
}

template <class V, class T, bool is_signed>
void abs_sum(const FakeQuantShape& s, const AbsSumArgs& a) {
  const FakeQuantPartition partition(s);
  const auto* x = static_cast<const T*>(a.x);
  auto* sums = static_cast<double*>(a.workspace);
  const int64_t blocks = partition.blocks(), per_span = partition.blocks_per_span();
#pragma omp parallel for schedule(static) if (count(s) >= parallel_elements)
  for (int64_t block = 0; block < blocks; ++block) {
    typename V::Run sum{{V::all(0.0f), V::all(0.0f)}};
    partition.for_each_run(block, [&](int64_t at, int64_t, int64_t n) RTFQ_INLINE_LAMBDA {
      const T* run = x + at;
      const auto add = [&](const typename V::Run& values) RTFQ_INLINE_LAMBDA {
        for (int part = 0; part < 2; ++part)
          sum.part[part] = V::add(sum.part[part], magnitude<V, is_signed>(values.part[part]));
      };
      // Both halves at once: a core that reads one place at a time waits for memory longer.
      const int64_t half = n / 64 * 32;
      for (int64_t i = 0; i < half; i += 32)
        for (const T* from : {run + i, run + half + i}) {
          prefetch_run(from);
          add(V::load_run(from));
        }
      for_each_run_of_32(n - 2 * half, [&](int64_t i, int64_t rest) RTFQ_INLINE_LAMBDA {
        add(read_run<V>(run + 2 * half + i, rest));
      });
    });
    sums[block] = total<V>(sum);
  }
  for (int64_t span = 0; span < partition.spans(); ++span) {
    double sum = 0;
    for (int64_t i = 0; i < per_span; ++i) sum += sums[span * per_span + i];
    a.out[span] = static_cast<float>(sum);
  }
}

template <class V, class T>
void abs_sum(const FakeQuantShape& s, const AbsSumArgs& a) {
  s.qn > 0 ? abs_sum<V, T, true>(s, a) : abs_sum<V, T, false>(s, a);
}

}  // namespace rtfq::kernels::cpu
