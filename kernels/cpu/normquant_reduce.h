#pragma once
// Reduce: one read of what z is made of and of the gradients, one write of g_z where it is wanted. Sums are
// taken per lane in f32 over at most `rows_per_sum` wide rows, then in double, block by block in a fixed
// order: they do not depend on the number of threads. The step sizes' sums go to double after every row.

#include "kernels/cpu/lanes.h"
#include "kernels/cpu/normquant_element.h"

namespace rtfq::kernels::cpu {

template <class V, class T, rtfq_residual residual, rtfq_identity identity>
void normquant_reduce(const NormQuantShape& s, const NormQuantReduceArgs& a) {
  const ReducePartials layout(s);
  constexpr int sums = residual == RTFQ_RESIDUAL_NORM ? 3 : 2;
  const bool stream = streams_gradient(s, a.g_z, {a.g_codes, a.g_identity});
#pragma omp parallel for schedule(static) if (elements(s.norm) >= parallel_elements)
  for (int64_t i = 0; i < layout.blocks.total(); ++i) {
    const auto block = layout.blocks[i];
    const int64_t c = s.norm.c, stride = layout.tiles.lanes();
    double* const partial = static_cast<double*>(a.workspace) + i * layout.per_block;
    std::fill_n(partial, layout.per_block, 0.0);
    const ResidualSum<V, T, residual> residual_sum(a.in);
    const SumGradient<V, T, identity> gradient(s, a.in, a.g_codes, a.g_identity);
    T* const g_z = static_cast<T*>(a.g_z);
    SumLanes lanes;
    alignas(64) float sum[sums][ChannelTiles::room];
    auto ds = V::no_doubles(), identity_ds = V::no_doubles();
    int64_t first = 0;
    layout.tiles.walk(
        block, ReducePartials::rows_per_sum,
        [&](int64_t channel, int64_t width) {
          lanes.fill(s, a.in, block.segment, channel, width);
          first = channel;
        },
        [&](int64_t from, int64_t rows, int64_t width) RTFQ_INLINE_LAMBDA {
          for (auto& of : sum) std::fill_n(of, (width + 15) / 16 * 16, 0.0f);
          for (const int64_t end = from + rows * stride; from < end; from += stride) {
            auto row_ds = V::all(0.0f), row_identity_ds = row_ds;
            for_each_vector(width, [&](int64_t lane, int64_t n, auto whole) RTFQ_INLINE_LAMBDA {
              const int64_t at = from + lane;
              const auto e = residual_sum.at(lanes, lane, at, n, whole);
              auto g = gradient.at(e.z, lane, at, n, row_ds, row_identity_ds, whole);
              // One gradient alone is passed on or not.
              constexpr bool exact = identity == RTFQ_IDENTITY_NONE;
              if (g_z) g = write_rounded<V, exact>(g_z + at, g, stream, n, whole);
              V::template store<false>(sum[0] + lane, V::add(V::load(sum[0] + lane), g));
              V::template store<false>(sum[1] + lane, V::multiply_add(g, e.main, V::load(sum[1] + lane)));
              if constexpr (sums == 3)
                V::template store<false>(sum[2] + lane, V::multiply_add(g, e.other, V::load(sum[2] + lane)));
            });
            V::add_to(ds, row_ds);
            if constexpr (identity == RTFQ_IDENTITY_CODES) V::add_to(identity_ds, row_identity_ds);
          }
          for (int which = 0; which < sums; ++which)
            add_lanes(sum[which], width, c, partial + which * c + first);
        });
    finish_stores<true>();
    partial[sums * c] = total<V>(ds);
    partial[sums * c + 1] = total<V>(identity_ds);
  }
  normquant_combine(s, a);
}

template <class V, class T>
void normquant_reduce(const NormQuantShape& s, const NormQuantReduceArgs& a) {
  with_residual(s.residual, [&](auto residual) {
    with_identity(s.identity, [&](auto identity) { normquant_reduce<V, T, residual(), identity()>(s, a); });
  });
}

}  // namespace rtfq::kernels::cpu
