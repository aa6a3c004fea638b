// Batch normalization as the header's formulas read: channel by channel, sums in double, two passes for the
// variance.
#include <cmath>

#include "kernels/cpu/batchnorm.h"
#include "kernels/cpu/batchnorm_layout.h"

namespace rtfq::kernels::cpu {
namespace {

/// Calls f(offset) for each element of channel c in a segment.
template <class F>
void for_channel(const BatchNormShape& s, int segment, int64_t c, F&& f) {
  const int64_t begin = (segment ? s.segment_end[segment - 1] : 0) * s.hw,
                end = s.segment_end[segment] * s.hw;
  for (int64_t row = begin; row < end; ++row) f(row * s.c + c);
}

}  // namespace

void batchnorm_statistics_naive(const BatchNormShape& s, const BatchNormStatisticsArgs& a, Stream) {
  const auto* x = static_cast<const float*>(a.x);
  for (int segment = 0; segment < s.segments; ++segment) {
    const auto m = static_cast<double>(count(s, segment));
#pragma omp parallel for schedule(static)
    for (int64_t c = 0; c < s.c; ++c) {
      double sum = 0, squares = 0;
      for_channel(s, segment, c, [&](int64_t i) { sum += static_cast<double>(x[i]); });
      const double mean = sum / m;
      for_channel(s, segment, c, [&](int64_t i) {
        const double d = static_cast<double>(x[i]) - mean;
        squares += d * d;
      });
      a.mean[segment * s.c + c] = static_cast<float>(mean);
      a.variance[segment * s.c + c] = static_cast<float>(squares / m);
    }
  }
}

void batchnorm_normalize_naive(const BatchNormShape& s, const BatchNormNormalizeArgs& a, Stream) {
  const auto* x = static_cast<const float*>(a.x);
  auto* y = static_cast<float*>(a.y);
  for (int segment = 0; segment < s.segments; ++segment)
#pragma omp parallel for schedule(static)
    for (int64_t c = 0; c < s.c; ++c) {
      const int64_t at = segment * s.c + c;
      const float factor = inverse_deviation(a.variance[at], s.epsilon) * a.scale[segment][c];
      for_channel(s, segment, c, [&](int64_t i) {
        const float value = std::fma(x[i] - a.mean[at], factor, a.shift[segment][c]);
        y[i] = a.relu && value < 0.0f ? 0.0f : value;
      });
    }
}

void batchnorm_reduce_naive(const BatchNormShape& s, const BatchNormReduceArgs& a, Stream) {
  const auto* x = static_cast<const float*>(a.x);
  const auto* g = static_cast<const float*>(a.g);
  for (int segment = 0; segment < s.segments; ++segment)
#pragma omp parallel for schedule(static)
    for (int64_t c = 0; c < s.c; ++c) {
      const int64_t at = segment * s.c + c;
      double sum = 0, product = 0;
      for_channel(s, segment, c, [&](int64_t i) {
        sum += static_cast<double>(g[i]);
        product += static_cast<double>(g[i]) * static_cast<double>(x[i] - a.mean[at]);
      });
      a.sum_g[at] = static_cast<float>(sum);
      a.sum_gx[at] =
          static_cast<float>(product * static_cast<double>(inverse_deviation(a.variance[at], s.epsilon)));
    }
}

void batchnorm_apply_naive(const BatchNormShape& s, const BatchNormApplyArgs& a, Stream) {
  const auto* x = static_cast<const float*>(a.x);
  const auto* g = static_cast<const float*>(a.g);
  auto* dx = static_cast<float*>(a.dx);
  for (int segment = 0; segment < s.segments; ++segment)
#pragma omp parallel for schedule(static)
    for (int64_t c = 0; c < s.c; ++c) {
      const int64_t at = segment * s.c + c;
      const float inverse = inverse_deviation(a.variance[at], s.epsilon);
      const float mean_g = a.sum_g[at] / a.counts[segment],
                  slope = inverse * (a.sum_gx[at] / a.counts[segment]);
      for_channel(s, segment, c, [&](int64_t i) {
        dx[i] = a.scale[segment][c] * inverse * std::fma(a.mean[at] - x[i], slope, g[i] - mean_g);
      });
    }
}

}  // namespace rtfq::kernels::cpu
