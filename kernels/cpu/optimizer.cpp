// SGD, the teacher's moving average and the squared norm over many tensors in one launch. Work is shared out
// by elements of the tensors laid end to end, so that one large tensor or hundreds of tiny ones keep all
// threads busy alike. Updates are elementwise and do not depend on the cuts; the norm is cut into a fixed
// number of parts.
#include "kernels/optimizer.h"

#include <omp.h>

#include <algorithm>
#include <cmath>

#include "kernels/cpu/policy.h"

namespace rtfq::kernels {
namespace {

using namespace rtfq::kernels::cpu;

constexpr float least_step = 0x1p-60f;

template <class Tensor>
int64_t total(std::span<const Tensor> tensors) {
  int64_t sum = 0;
  for (const Tensor& tensor : tensors) sum += tensor.count;
  return sum;
}

/// Calls f(tensor, first, last) for what [begin, end) of the tensors laid end to end covers of each.
template <class Tensor, class F>
void for_range(std::span<const Tensor> tensors, int64_t begin, int64_t end, F&& f) {
  int64_t at = 0;
  for (const Tensor& tensor : tensors) {
    if (at >= end) return;
    const int64_t first = std::max<int64_t>(begin - at, 0), last = std::min(end - at, tensor.count);
    if (first < last) f(tensor, first, last);
    at += tensor.count;
  }
}

/// Share `part` of `parts`, cut at multiples of a cache line.
int64_t cut(int64_t count, int64_t part, int64_t parts) {
  return part == parts ? count : count / parts * part / 16 * 16;
}

template <class Tensor, class F>
void for_each(std::span<const Tensor> tensors, F&& f) {
  const int64_t count = total(tensors);
#pragma omp parallel if (count >= parallel_elements)
  for_range(tensors, cut(count, omp_get_thread_num(), omp_get_num_threads()),
            cut(count, omp_get_thread_num() + 1, omp_get_num_threads()), f);
}

/// The header's rule for step sizes; they are few, so that double precision costs nothing. A NaN stays one.
float positive_update(float value, double learning_rate, double direction, double limit) {
  const double change = std::clamp(-learning_rate * direction / static_cast<double>(value), -limit, limit);
  const auto updated = static_cast<float>(static_cast<double>(value) * std::exp(change));
  return updated < least_step ? least_step : updated;
}

template <bool nesterov>
void sgd_positive(const SgdArgs& a, const SgdTensor& t, int64_t first, int64_t last) {
  for (int64_t i = first; i < last; ++i) {
    const float g = __builtin_fmaf(t.weight_decay, t.value[i], t.gradient[i] * a.gradient_scale);
    const float m = __builtin_fmaf(a.momentum, t.momentum[i], g);
    const float direction = nesterov ? __builtin_fmaf(a.momentum, m, g) : m;
    t.value[i] = positive_update(t.value[i], static_cast<double>(t.learning_rate),
                                 static_cast<double>(direction), static_cast<double>(a.step_limit));
    t.momentum[i] = m;
    t.gradient[i] = 0;
  }
}

template <bool nesterov>
void sgd_plain(const SgdArgs& a, const SgdTensor& t, int64_t first, int64_t last) {
  const __m256 scale = _mm256_set1_ps(a.gradient_scale), decay = _mm256_set1_ps(t.weight_decay),
               momentum = _mm256_set1_ps(a.momentum), rate = _mm256_set1_ps(t.learning_rate);
  int64_t i = first;
  for (; i + 8 <= last; i += 8) {
    const __m256 value = _mm256_loadu_ps(t.value + i);
    const __m256 g = _mm256_fmadd_ps(decay, value, _mm256_mul_ps(_mm256_loadu_ps(t.gradient + i), scale));
    const __m256 m = _mm256_fmadd_ps(momentum, _mm256_loadu_ps(t.momentum + i), g);
    const __m256 direction = nesterov ? _mm256_fmadd_ps(momentum, m, g) : m;
    _mm256_storeu_ps(t.value + i, _mm256_fnmadd_ps(rate, direction, value));
    _mm256_storeu_ps(t.momentum + i, m);
    _mm256_storeu_ps(t.gradient + i, _mm256_setzero_ps());
  }
  for (; i < last; ++i) {
    const float g = __builtin_fmaf(t.weight_decay, t.value[i], t.gradient[i] * a.gradient_scale);
    const float m = __builtin_fmaf(a.momentum, t.momentum[i], g);
    t.value[i] =
        __builtin_fmaf(-t.learning_rate, nesterov ? __builtin_fmaf(a.momentum, m, g) : m, t.value[i]);
    t.momentum[i] = m;
    t.gradient[i] = 0;
  }
}

template <bool nesterov>
void sgd(const SgdArgs& a) {
  for_each(a.tensors, [&](const SgdTensor& t, int64_t first, int64_t last) {
    t.positive ? sgd_positive<nesterov>(a, t, first, last) : sgd_plain<nesterov>(a, t, first, last);
  });
}

SgdArgs with_scale(SgdArgs a) {
  if (a.scale) a.gradient_scale = *a.scale;
  return a;
}

void sgd_avx2(const OptimizerShape&, const SgdArgs& given, Stream) {
  const SgdArgs a = with_scale(given);
  a.nesterov ? sgd<true>(a) : sgd<false>(a);
}

void moving_average_avx2(const OptimizerShape&, const MovingAverageArgs& a, Stream) {
  const float rest = 1.0f - a.decay;
  for_each(a.tensors, [&](const AverageTensor& t, int64_t first, int64_t last) {
    const __m256 keep = _mm256_set1_ps(a.decay), take = _mm256_set1_ps(rest);
    int64_t i = first;
    for (; i + 8 <= last; i += 8)
      _mm256_storeu_ps(t.average + i, _mm256_fmadd_ps(keep, _mm256_loadu_ps(t.average + i),
                                                      _mm256_mul_ps(take, _mm256_loadu_ps(t.value + i))));
    for (; i < last; ++i) t.average[i] = __builtin_fmaf(a.decay, t.average[i], rest * t.value[i]);
  });
}

/// Squares of f32 are exact in double. Both halves at once: a core that reads one place at a time waits for
/// memory longer.
double squares(const float* x, int64_t count) {
  __m256d sum[8] = {};
  const int64_t half = count / 32 * 16;
  for (int64_t i = 0; i < half; i += 16)
    for (int place = 0; place < 2; ++place) {
      const float* const from = x + place * half + i;
      prefetch(from);
      for (int part = 0; part < 4; ++part) {
        const __m256d value = _mm256_cvtps_pd(_mm_loadu_ps(from + 4 * part));
        sum[4 * place + part] = _mm256_fmadd_pd(value, value, sum[4 * place + part]);
      }
    }
  __m256d four = _mm256_setzero_pd();
  for (const __m256d& part : sum) four = _mm256_add_pd(four, part);
  alignas(32) double lanes[4];
  _mm256_store_pd(lanes, four);
  double all = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
  for (int64_t i = 2 * half; i < count; ++i) all += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return all;
}

void squared_norm_avx2(const OptimizerShape&, const SquaredNormArgs& a, Stream) {
  constexpr int64_t parts = 128;  // of all elements, whatever the number of threads
  const int64_t count = total(a.tensors);
  double sums[parts] = {};
#pragma omp parallel for schedule(static) if (count >= parallel_elements)
  for (int64_t part = 0; part < parts; ++part)
    for_range(a.tensors, cut(count, part, parts), cut(count, part + 1, parts),
              [&](const SgdTensor& t, int64_t first, int64_t last) {
                sums[part] += squares(t.gradient + first, last - first);
              });
  double sum = 0;
  for (const double part : sums) sum += part;
  *a.out = sum;
}

// Plain versions, as the header reads.

void sgd_naive(const OptimizerShape&, const SgdArgs& given, Stream) {
  const SgdArgs a = with_scale(given);
  for (const SgdTensor& t : a.tensors)
    for (int64_t i = 0; i < t.count; ++i) {
      const float g = std::fma(t.weight_decay, t.value[i], t.gradient[i] * a.gradient_scale);
      const float m = std::fma(a.momentum, t.momentum[i], g);
      const float direction = a.nesterov ? std::fma(a.momentum, m, g) : m;
      t.value[i] = t.positive
                       ? positive_update(t.value[i], static_cast<double>(t.learning_rate),
                                         static_cast<double>(direction), static_cast<double>(a.step_limit))
                       : std::fma(-t.learning_rate, direction, t.value[i]);
      t.momentum[i] = m;
      t.gradient[i] = 0;
    }
}

void moving_average_naive(const OptimizerShape&, const MovingAverageArgs& a, Stream) {
  for (const AverageTensor& t : a.tensors)
    for (int64_t i = 0; i < t.count; ++i)
      t.average[i] = std::fma(a.decay, t.average[i], (1.0f - a.decay) * t.value[i]);
}

void squared_norm_naive(const OptimizerShape&, const SquaredNormArgs& a, Stream) {
  // One sum of millions rounds too often; each addition's error goes into the next (Kahan).
  double sum = 0, error = 0;
  for (const SgdTensor& t : a.tensors)
    for (int64_t i = 0; i < t.count; ++i) {
      const double next = static_cast<double>(t.gradient[i]) * static_cast<double>(t.gradient[i]) - error;
      const double more = sum + next;
      error = (more - sum) - next;
      sum = more;
    }
  *a.out = sum;
}

void clip_scale(const OptimizerShape&, const ClipScaleArgs& a, Stream) {
  const double norm = std::sqrt(*a.squares) * a.scale;
  *a.out = static_cast<float>(a.limit > 0 && norm > a.limit ? a.scale * (a.limit / norm) : a.scale);
}

}  // namespace

std::span<const ClipScale::Impl> ClipScale::cpu() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, clip_scale}};
  return list;
}
std::span<const Sgd::Impl> Sgd::cpu() {
  static constexpr Impl list[] = {{"avx2", supports_all<Shape>, sgd_avx2},
                                  {"naive", supports_all<Shape>, sgd_naive}};
  return list;
}
std::span<const MovingAverage::Impl> MovingAverage::cpu() {
  static constexpr Impl list[] = {{"avx2", supports_all<Shape>, moving_average_avx2},
                                  {"naive", supports_all<Shape>, moving_average_naive}};
  return list;
}
std::span<const SquaredNorm::Impl> SquaredNorm::cpu() {
  static constexpr Impl list[] = {{"avx2", supports_all<Shape>, squared_norm_avx2},
                                  {"naive", supports_all<Shape>, squared_norm_naive}};
  return list;
}

}  // namespace rtfq::kernels
