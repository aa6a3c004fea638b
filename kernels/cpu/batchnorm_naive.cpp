// Batch normalization as the header's formulas read: channel by channel, sums in double, two passes for the
// variance.
#include <cmath>

#include "kernels/cpu/batchnorm.h"
#include "kernels/cpu/batchnorm_layout.h"
#include "kernels/cpu/bf16.h"

namespace rtfq::kernels::cpu {
namespace {

/// Calls f(offset) for each element of channel c in a segment.
template <class F>
void for_channel(const BatchNormShape& s, int segment, int64_t c, F&& f) {
  const int64_t begin = (segment ? s.segment_end[segment - 1] : 0) * s.hw,
                end = s.segment_end[segment] * s.hw;
  for (int64_t row = begin; row < end; ++row) f(row * s.c + c);
}

template <class T>
void statistics(const BatchNormShape& s, const BatchNormStatisticsArgs& a) {
  const auto* x = static_cast<const T*>(a.x);
  for (int segment = 0; segment < s.segments; ++segment) {
    const auto m = static_cast<double>(count(s, segment));
#pragma omp parallel for schedule(static)
    for (int64_t c = 0; c < s.c; ++c) {
      double sum = 0, squares = 0;
      for_channel(s, segment, c, [&](int64_t i) { sum += static_cast<double>(load1(x + i)); });
      const double mean = sum / m;
      for_channel(s, segment, c, [&](int64_t i) {
        const double d = static_cast<double>(load1(x + i)) - mean;
        squares += d * d;
      });
      a.mean[segment * s.c + c] = static_cast<float>(mean);
      a.variance[segment * s.c + c] = static_cast<float>(squares / m);
    }
  }
}

template <class T>
void normalize(const BatchNormShape& s, const BatchNormNormalizeArgs& a) {
  const auto* x = static_cast<const T*>(a.x);
  auto* y = static_cast<T*>(a.y);
  for (int segment = 0; segment < s.segments; ++segment)
#pragma omp parallel for schedule(static)
    for (int64_t c = 0; c < s.c; ++c) {
      const int64_t at = segment * s.c + c;
      const float factor = inverse_deviation(a.variance[at], s.epsilon) * a.scale[segment][c];
      for_channel(s, segment, c, [&](int64_t i) {
        const float value = std::fma(load1(x + i) - a.mean[at], factor, a.shift[segment][c]);
        store1(y + i, a.relu && value < 0.0f ? 0.0f : value);
      });
    }
}

template <class T>
void reduce(const BatchNormShape& s, const BatchNormReduceArgs& a) {
  const auto* x = static_cast<const T*>(a.x);
  const auto* g = static_cast<const T*>(a.g);
  for (int segment = 0; segment < s.segments; ++segment)
#pragma omp parallel for schedule(static)
    for (int64_t c = 0; c < s.c; ++c) {
      const int64_t at = segment * s.c + c;
      double sum = 0, product = 0;
      for_channel(s, segment, c, [&](int64_t i) {
        sum += static_cast<double>(load1(g + i));
        product += static_cast<double>(load1(g + i)) * static_cast<double>(load1(x + i) - a.mean[at]);
      });
      a.sum_g[at] = static_cast<float>(sum);
      a.sum_gx[at] =
          static_cast<float>(product * static_cast<double>(inverse_deviation(a.variance[at], s.epsilon)));
    }
}

template <class T>
void apply(const BatchNormShape& s, const BatchNormApplyArgs& a) {
  const auto* x = static_cast<const T*>(a.x);
  const auto* g = static_cast<const T*>(a.g);
  auto* dx = static_cast<T*>(a.dx);
  for (int segment = 0; segment < s.segments; ++segment)
#pragma omp parallel for schedule(static)
    for (int64_t c = 0; c < s.c; ++c) {
      const int64_t at = segment * s.c + c;
      const float inverse = inverse_deviation(a.variance[at], s.epsilon);
      const float mean_g = a.sum_g[at] / a.counts[segment],
                  slope = inverse * (a.sum_gx[at] / a.counts[segment]);
      for_channel(s, segment, c, [&](int64_t i) {
        store1(dx + i, a.scale[segment][c] * inverse *
                           std::fma(a.mean[at] - load1(x + i), slope, load1(g + i) - mean_g));
      });
    }
}

}  // namespace

void batchnorm_statistics_naive(const BatchNormShape& s, const BatchNormStatisticsArgs& a, Stream) {
  s.type == RTFQ_BF16 ? statistics<bf16>(s, a) : statistics<float>(s, a);
}
void batchnorm_normalize_naive(const BatchNormShape& s, const BatchNormNormalizeArgs& a, Stream) {
  s.type == RTFQ_BF16 ? normalize<bf16>(s, a) : normalize<float>(s, a);
}
void batchnorm_reduce_naive(const BatchNormShape& s, const BatchNormReduceArgs& a, Stream) {
  s.type == RTFQ_BF16 ? reduce<bf16>(s, a) : reduce<float>(s, a);
}
void batchnorm_apply_naive(const BatchNormShape& s, const BatchNormApplyArgs& a, Stream) {
  s.type == RTFQ_BF16 ? apply<bf16>(s, a) : apply<float>(s, a);
}

}  // namespace rtfq::kernels::cpu
