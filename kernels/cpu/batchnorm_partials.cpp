#include "kernels/cpu/batchnorm_partials.h"

#include <cstddef>

#include "kernels/cpu/bf16.h"

namespace rtfq::kernels::cpu {
namespace {

/// Calls f(segment, channel, first sum, second sum) with the sums over each segment's blocks.
template <class F>
void combine(const BatchNormShape& s, const double* partials, F&& f) {
  constexpr int64_t channels = 64;
  const RowBlocks blocks = BatchNormPartials(s).blocks;
  const int64_t groups = (s.c + channels - 1) / channels;
#pragma omp parallel for collapse(2) schedule(static) if (blocks.total() * s.c >= parallel_elements)
  for (int segment = 0; segment < s.segments; ++segment)
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t c = group * channels, width = std::min(channels, s.c - c);
      double first[channels] = {}, second[channels] = {};
      for (int64_t b = blocks.first(segment); b < blocks.first(segment + 1); ++b) {
        const double* from = partials + b * 2 * s.c + c;
        for (int64_t i = 0; i < width; ++i) first[i] += from[i], second[i] += from[s.c + i];
      }
      for (int64_t i = 0; i < width; ++i) f(segment, c + i, first[i], second[i]);
    }
}

/// x as T holds it.
template <class T>
float as_held(float x) {
  T held;
  store1(&held, x);
  return load1(&held);
}

template <class T>
void sample_means(const BatchNormShape& s, const T* x, float* centres) {
  for (int segment = 0; segment < s.segments; ++segment) {
    const int64_t begin = (segment ? s.segment_end[segment - 1] : 0) * s.hw, rows = count(s, segment);
    const int64_t samples = std::min<int64_t>(32, rows);
    float* centre = centres + segment * s.c;
    std::fill_n(centre, s.c, 0.0f);
    for (int64_t i = 0; i < samples; ++i) {
      const T* row = x + (begin + i * rows / samples) * s.c;
      for (int64_t c = 0; c < s.c; ++c) centre[c] += load1(row + c);
    }
    for (int64_t c = 0; c < s.c; ++c) centre[c] = as_held<T>(centre[c] / static_cast<float>(samples));
  }
}

}  // namespace

std::size_t batchnorm_sums_bytes(const BatchNormShape& s) {
  return static_cast<std::size_t>(BatchNormPartials(s).doubles()) * sizeof(double) +
         static_cast<std::size_t>(s.segments * s.c) * sizeof(float);
}

SumsWorkspace sums_workspace(const BatchNormShape& s, void* workspace) {
  auto* partials = static_cast<double*>(workspace);
  return {partials, reinterpret_cast<float*>(partials + BatchNormPartials(s).doubles())};
}

void sample_means(const BatchNormShape& s, const void* x, float* centres) {
  s.type == RTFQ_BF16 ? sample_means(s, static_cast<const bf16*>(x), centres)
                      : sample_means(s, static_cast<const float*>(x), centres);
}

void round_means(const BatchNormShape& s, const float* mean, float* centres) {
  for (int64_t i = 0; i < s.segments * s.c; ++i)
    centres[i] = s.type == RTFQ_BF16 ? as_held<bf16>(mean[i]) : mean[i];
}

void combine_statistics(const BatchNormShape& s, const BatchNormStatisticsArgs& a) {
  const auto [partials, centres] = sums_workspace(s, a.workspace);
  combine(s, partials, [&, centres = centres](int segment, int64_t c, double sum, double squares) {
    const auto m = static_cast<double>(count(s, segment));
    const int64_t at = segment * s.c + c;
    const double offset = sum / m, variance = squares / m - offset * offset;
    a.mean[at] = static_cast<float>(static_cast<double>(centres[at]) + offset);
    a.variance[at] = static_cast<float>(variance < 0 ? 0 : variance);  // a NaN stays one
  });
}

void combine_reduce(const BatchNormShape& s, const BatchNormReduceArgs& a) {
  const auto [partials, centres] = sums_workspace(s, a.workspace);
  combine(s, partials, [&, centres = centres](int segment, int64_t c, double sum, double products) {
    const int64_t at = segment * s.c + c;
    a.sum_g[at] = static_cast<float>(sum);
    const double from_mean = static_cast<double>(centres[at]) - static_cast<double>(a.mean[at]);
    a.sum_gx[at] = static_cast<float>((products + from_mean * sum) *
                                      static_cast<double>(inverse_deviation(a.variance[at], s.epsilon)));
  });
}

}  // namespace rtfq::kernels::cpu
