#pragma once
// Reduce: one read of what z is made of and of the gradients, one write of g_z where it is wanted. Sums are
// taken per lane in f32 over at most `rows_per_sum` wide rows, then in double, block by block in a fixed
// order: they do not depend on the number of threads. The step sizes' sums go to double after every row.

#include "kernels/cpu/normquant_element.h"

namespace rtfq::kernels::cpu {

template <class V>
double total(const typename V::Doubles& lanes) {
  double values[V::width], sum = 0;
  V::store(values, lanes);
  for (const double value : values) sum += value;
  return sum;
}

template <class V, class T, rtfq_residual residual, rtfq_identity identity>
void normquant_reduce(const NormQuantShape& s, const NormQuantReduceArgs& a) {
  using Floats = typename V::Floats;
  const ReducePartials layout(s);
  const ChannelTiles& tiles = layout.tiles;
  const SumGradient<V, T, identity> gradient(s, a.in, a.g_codes, a.g_identity);
  auto* g_z = static_cast<T*>(a.g_z);
  constexpr int sums = residual == RTFQ_RESIDUAL_NORM ? 3 : 2;
#pragma omp parallel for schedule(static) if (elements(s.norm) >= parallel_elements)
  for (int64_t i = 0; i < layout.blocks.total(); ++i) {
    const auto block = layout.blocks[i];
    double* partial = static_cast<double*>(a.workspace) + i * layout.per_block;
    std::fill_n(partial, layout.per_block, 0.0);
    alignas(64) float sum[sums][ChannelTiles::room];
    ResidualSum<V, T, residual> residual_sum(a.in);
    typename V::Doubles ds = V::no_doubles(), identity_ds = V::no_doubles();
    int64_t first = 0;
    const auto row = [&](int64_t from, int64_t width) {
      Floats row_ds = V::all(0.0f), row_identity_ds = V::all(0.0f);
      for_each_vector(width, [&](int64_t lane, int64_t n, auto whole) {
        const int64_t at = from + lane;
        const auto e = residual_sum.at(lane, at, n, whole);
        Floats g = gradient.at(e.z, at, n, row_ds, row_identity_ds, whole);
        if (g_z) {
          g = V::template rounded<T>(g);
          write<V>(g_z + at, g, n, whole);
        }
        const auto add = [&](float* to, Floats x) { V::template store<false>(to + lane, x); };
        add(sum[0], V::add(V::load(sum[0] + lane), g));
        add(sum[1], V::multiply_add(g, e.main, V::load(sum[1] + lane)));
        if constexpr (sums == 3) add(sum[2], V::multiply_add(g, e.other, V::load(sum[2] + lane)));
      });
      V::add_to(ds, row_ds);
      if constexpr (identity == RTFQ_IDENTITY_CODES) V::add_to(identity_ds, row_identity_ds);
    };
    tiles.walk(
        block, ReducePartials::rows_per_sum,
        [&](int64_t channel, int64_t width) {
          residual_sum.begin(s.norm, block.segment, channel, width);
          first = channel;
        },
        [&](int64_t from, int64_t rows, int64_t width) {
          for (auto& lanes : sum) std::fill_n(lanes, (width + 15) / 16 * 16, 0.0f);
          for (int64_t r = 0; r < rows; ++r) row(from + r * tiles.lanes(), width);
          for (int which = 0; which < sums; ++which)
            add_lanes(sum[which], width, s.norm.c, partial + which * s.norm.c + first);
        });
    partial[sums * s.norm.c] = total<V>(ds);
    partial[sums * s.norm.c + 1] = total<V>(identity_ds);
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
