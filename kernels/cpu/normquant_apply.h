#pragma once
// Apply: one read of what each gradient needs, one write of each. Where g_z was not stored it is made again
// from z.

#include "kernels/cpu/normquant_element.h"

namespace rtfq::kernels::cpu {

/// `stored`: g_z is given. `residual` is NONE or NORM then, whatever else was added.
template <class V, class T, rtfq_residual residual, rtfq_identity identity, bool stored>
void normquant_apply(const NormQuantShape& s, const NormQuantApplyArgs& a, bool stream) {
  constexpr bool two = residual == RTFQ_RESIDUAL_NORM;
  using GradientRun = typename SumGradient<V, T, identity>::Run;
  const ChannelTiles tiles = joined_tiles<T>(s.norm.c);
  const RowBlocks blocks = normquant_blocks(s.norm, tiles);
#pragma omp parallel if (elements(s.norm) >= parallel_elements)
  {
    const int64_t stride = tiles.lanes(), ahead = tiles.ahead<T>();
    const ResidualSum<V, T, residual> sum(a.in);
    const SumGradient<V, T, identity> gradient(s, a.in, a.g_codes, a.g_identity);
    const T* const g_z = static_cast<const T*>(a.g_z);
    T *const dx = static_cast<T*>(a.dx), *const other_dx = static_cast<T*>(a.other_dx);
    SumLanes lanes;
    GradientLanes main, other;
    ChannelTiles::Filled filled;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < blocks.total(); ++i) {
      const auto block = blocks[i];
      tiles.walk(
          block, filled, block.rows,
          [&](int64_t channel, int64_t width) {
            const float count = a.counts[block.segment];
            lanes.fill<T>(s, a.in, block.segment, channel, width);
            main.fill<T>(s.norm, a.in.main.variance, a.sum_g, a.sum_gx, count, block.segment, channel, width);
            if constexpr (two)
              other.fill<T>(s.norm, a.in.other.variance, a.sum_g, a.other_sum_gx, count, block.segment,
                            channel, width);
          },
          [&](int64_t from, int64_t rows, int64_t width) RTFQ_INLINE_LAMBDA {
            for (int64_t row = 0; row < rows; ++row, from += stride)
              for_each_run_of_32(width, [&](int64_t lane, int64_t n) RTFQ_INLINE_LAMBDA {
                const int64_t at = from + lane;
                const typename ResidualSum<V, T, residual>::Run operands(sum, lane, at, ahead, n);
                const GradientRun gradients(gradient, at, ahead, n);
                if constexpr (stored) prefetch_run(g_z + at, ahead);
                const RunSource<T, stored> of_z(stored ? g_z + at : nullptr, n);
                typename V::Run to, to_other;
                auto unused = V::all(0.0f);
                repeat<V::parts>([&](int part) RTFQ_INLINE_LAMBDA {
                  const int64_t l = lane + part * V::width;
                  const auto e = sum.at(operands, lanes, lane, part);
                  typename V::Floats g;
                  if constexpr (stored)
                    g = V::load_part(of_z, part);
                  else
                    g = gradient.at(gradients, e.z, part, unused, unused);
                  to.part[part] = norm_gradient<V>(e.main, g, lanes.main, main.mean_g, main.slope, l);
                  if constexpr (two)
                    to_other.part[part] =
                        norm_gradient<V>(e.other, g, lanes.other, main.mean_g, other.slope, l);
                });
                write_run<V, false>(dx + at, to, n, stream);
                if constexpr (two) write_run<V, false>(other_dx + at, to_other, n, stream);
              });
          });
    }
    finish_stores<true>();
  }
}

template <class V, class T>
void normquant_apply(const NormQuantShape& s, const NormQuantApplyArgs& a) {
  const bool two = s.residual == RTFQ_RESIDUAL_NORM;
  const std::initializer_list<const void*> operands = {a.g_z, a.g_codes, a.g_identity, a.in.main.x,
                                                       a.in.other.x};
  const bool stream =
      streams_gradient(s, a.dx, operands) && (!two || streams_gradient(s, a.other_dx, operands));
  if (a.g_z && two)
    normquant_apply<V, T, RTFQ_RESIDUAL_NORM, RTFQ_IDENTITY_NONE, true>(s, a, stream);
  else if (a.g_z)
    normquant_apply<V, T, RTFQ_RESIDUAL_NONE, RTFQ_IDENTITY_NONE, true>(s, a, stream);
  else
    with_residual(s.residual, [&](auto residual) {
      with_identity(s.identity, [&](auto identity) {
        normquant_apply<V, T, residual(), identity(), false>(s, a, stream);
      });
    });
}

}  // namespace rtfq::kernels::cpu
