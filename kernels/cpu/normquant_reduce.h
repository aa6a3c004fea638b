#pragma once
// Reduce: one read of what z is made of and of the gradients, one write of g_z where it is wanted. Sums are
// taken per lane in f32 over at most `rows_per_sum` wide rows, then in double, block by block in a fixed
// order: they do not depend on the number of threads. The step sizes' sums go to double after every
// row.

#include "kernels/cpu/normquant_element.h"

namespace rtfq::kernels::cpu {

/// The sums over a block, of a tile's lanes and of the step sizes.
template <class V, class T, rtfq_residual residual, rtfq_identity identity>
struct ReduceSums {
  static constexpr int of_lanes = residual == RTFQ_RESIDUAL_NORM ? 3 : 2;

  SumLanes lanes;
  alignas(64) float of[of_lanes][ChannelTiles::room];
  typename V::Doubles ds, identity_ds;

  /// Adds `rows` wide rows lane by lane: a lane's sums are fetched once for all.
  template <int rows>
  RTFQ_INLINE void add(const ResidualSum<V, T, residual>& residual_sum,
                       const SumGradient<V, T, identity>& gradient, T* g_z, bool stream, int64_t from,
                       const ChannelTiles& tiles, int64_t width) {
    using Floats = typename V::Floats;
    // One gradient alone is passed on or not: T holds it as it is.
    constexpr bool exact = identity == RTFQ_IDENTITY_NONE;
    const int64_t stride = tiles.lanes(), ahead = tiles.ahead<T>(rows);
    typename V::Run row_ds[rows], row_identity_ds[rows];
    for (int row = 0; row < rows; ++row)
      row_ds[row] = row_identity_ds[row] = by_parts<V>([](int, int64_t) { return V::all(0.0f); });
    for_each_run_of_32(width, [&](int64_t lane, int64_t n) RTFQ_INLINE_LAMBDA {
      const auto at = [&](int row) RTFQ_INLINE_LAMBDA { return from + row * stride + lane; };
      const auto add_runs = [&](const auto&... run) RTFQ_INLINE_LAMBDA {
        const Operands* const operands[] = {&run...};
        typename V::Run g[rows];
        repeat<V::parts>([&](int part) RTFQ_INLINE_LAMBDA {
          const int64_t l = lane + part * V::width;
          Floats sum[of_lanes];
          repeat<of_lanes>([&](int which) RTFQ_INLINE_LAMBDA { sum[which] = V::load(of[which] + l); });
          repeat<rows>([&](int row) RTFQ_INLINE_LAMBDA {
            const auto e = residual_sum.at(operands[row]->sum, lanes, lane, part);
            Floats its = gradient.at(operands[row]->gradient, e.z, part, row_ds[row].part[part],
                                     row_identity_ds[row].part[part]);
            if constexpr (!exact)
              if (g_z) its = V::template rounded_finite<T>(its);
            g[row].part[part] = its;
            sum[0] = V::add(sum[0], its);
            sum[1] = V::multiply_add(its, e.main, sum[1]);
            if constexpr (of_lanes == 3) sum[2] = V::multiply_add(its, e.other, sum[2]);
          });
          repeat<of_lanes>([&](int which)
                               RTFQ_INLINE_LAMBDA { V::template store<false>(of[which] + l, sum[which]); });
        });
        if (g_z)
          repeat<rows>([&](int row)
                           RTFQ_INLINE_LAMBDA { write_run<V, true>(g_z + at(row), g[row], n, stream); });
      };
      const auto operands = [&](int row) RTFQ_INLINE_LAMBDA {
        return Operands(residual_sum, gradient, lane, at(row), ahead, n);
      };
      if constexpr (rows == 1)
        add_runs(operands(0));
      else
        add_runs(operands(0), operands(1));
    });
    for (int row = 0; row < rows; ++row) {
      V::add_to(ds, row_ds[row]);
      if constexpr (identity == RTFQ_IDENTITY_CODES) V::add_to(identity_ds, row_identity_ds[row]);
    }
  }

 private:
  struct Operands {
    typename ResidualSum<V, T, residual>::Run sum;
    typename SumGradient<V, T, identity>::Run gradient;

    RTFQ_INLINE Operands(const ResidualSum<V, T, residual>& of_sum,
                         const SumGradient<V, T, identity>& of_gradient, int64_t lane, int64_t at,
                         int64_t ahead, int64_t n)
        : sum(of_sum, lane, at, ahead, n), gradient(of_gradient, at, ahead, n) {}
  };
};

template <class V, class T, rtfq_residual residual, rtfq_identity identity>
void normquant_reduce(const NormQuantShape& s, const NormQuantReduceArgs& a) {
  using Sums = ReduceSums<V, T, residual, identity>;
  // Memory serves one row at a time better than two: of floats, and on Intel's processors of bf16 as well
  // (Granite Rapids, with codes: 0.85 to 0.98 of the time); on AMD's, of those rows, half as long, it does
  // not matter. Two need fewer instructions, where there are registers for both.
  constexpr bool holds_pairs = sizeof(T) == 2 && V::register_bytes == 64;
  const bool pairs = holds_pairs && !made_by_intel();
  const ReducePartials layout(s);
  const bool stream = streams_gradient(s, a.g_z, {a.g_codes, a.g_identity});
#pragma omp parallel if (elements(s.norm) >= parallel_elements)
  {
    const int64_t c = s.norm.c, stride = layout.tiles.lanes();
    const ResidualSum<V, T, residual> residual_sum(a.in);
    const SumGradient<V, T, identity> gradient(s, a.in, a.g_codes, a.g_identity);
    T* const g_z = static_cast<T*>(a.g_z);
    Sums sums;
    ChannelTiles::Filled filled;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < layout.blocks.total(); ++i) {
      const auto block = layout.blocks[i];
      double* const partial = static_cast<double*>(a.workspace) + i * layout.per_block;
      std::fill_n(partial, layout.per_block, 0.0);
      sums.ds = sums.identity_ds = V::no_doubles();
      layout.tiles.walk(
          block, filled, ReducePartials::rows_per_sum,
          [&](int64_t channel, int64_t width) {
            sums.lanes.template fill<T>(s, a.in, block.segment, channel, width);
          },
          [&](int64_t from, int64_t rows, int64_t width) RTFQ_INLINE_LAMBDA {
            for (auto& of : sums.of) std::fill_n(of, whole_runs(width), 0.0f);
            int64_t row = 0;
            if constexpr (holds_pairs)
              for (; pairs && row + 2 <= rows; row += 2)
                sums.template add<2>(residual_sum, gradient, g_z, stream, from + row * stride, layout.tiles,
                                     width);
            for (; row < rows; ++row)
              sums.template add<1>(residual_sum, gradient, g_z, stream, from + row * stride, layout.tiles,
                                   width);
            for (int which = 0; which < Sums::of_lanes; ++which)
              add_lanes<T>(sums.of[which], width, c, partial + which * c + filled.channel);
          });
      partial[Sums::of_lanes * c] = total<V>(sums.ds);
      partial[Sums::of_lanes * c + 1] = total<V>(sums.identity_ds);
    }
    finish_stores<true>();
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
