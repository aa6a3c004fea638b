// The last part of the reduce pass: the blocks' partial sums, added in their order, and the results in f32.
#include "kernels/cpu/normquant_layout.h"

namespace rtfq::kernels::cpu {
namespace {

/// out = sum over a segment's blocks of partial sum `which`, times the inverse deviation where there is a
/// variance.
void combine_channels(const NormQuantShape& s, const ReducePartials& layout, const double* partials,
                      int64_t which, const float* variance, float* out) {
  constexpr int64_t together = 64;
  const int64_t groups = (s.norm.c + together - 1) / together;
#pragma omp parallel for collapse(2) \
    schedule(static) if (layout.blocks.total() * s.norm.c >= parallel_elements)
  for (int segment = 0; segment < s.norm.segments; ++segment)
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t c = group * together, width = std::min(together, s.norm.c - c);
      double sum[together] = {};
      for (int64_t b = layout.blocks.first(segment); b < layout.blocks.first(segment + 1); ++b) {
        const double* from = partials + b * layout.per_block + which * s.norm.c + c;
        for (int64_t i = 0; i < width; ++i) sum[i] += from[i];
      }
      for (int64_t i = 0; i < width; ++i) {
        const int64_t at = segment * s.norm.c + c + i;
        const double factor =
            variance ? static_cast<double>(inverse_deviation(variance[at], s.norm.epsilon)) : 1.0;
        out[at] = static_cast<float>(sum[i] * factor);
      }
    }
}

void combine_step(const ReducePartials& layout, const double* partials, int64_t at, float scale, float* ds) {
  double sum = 0;
  for (int64_t b = 0; b < layout.blocks.total(); ++b) sum += partials[b * layout.per_block + at];
  *ds += static_cast<float>(sum * static_cast<double>(scale));
}

}  // namespace

std::size_t normquant_reduce_bytes(const NormQuantShape& s) {
  const ReducePartials layout(s);
  return static_cast<std::size_t>(layout.blocks.total() * layout.per_block) * sizeof(double);
}

void normquant_combine(const NormQuantShape& s, const NormQuantReduceArgs& a) {
  const ReducePartials layout(s);
  const auto* partials = static_cast<const double*>(a.workspace);
  combine_channels(s, layout, partials, 0, nullptr, a.sum_g);
  combine_channels(s, layout, partials, 1, a.in.main.variance, a.sum_gx);
  if (s.residual == RTFQ_RESIDUAL_NORM)
    combine_channels(s, layout, partials, 2, a.in.other.variance, a.other_sum_gx);
  const int64_t steps = layout.sums * s.norm.c;
  if (a.ds) combine_step(layout, partials, steps, a.grad_scale, a.ds);
  if (a.identity_ds && s.identity == RTFQ_IDENTITY_CODES)
    combine_step(layout, partials, steps + 1, a.identity_grad_scale, a.identity_ds);
}

}  // namespace rtfq::kernels::cpu
