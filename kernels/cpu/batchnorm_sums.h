#pragma once
// Batch statistics and the sums of the backward pass: one read of each operand at memory speed. Sums are
// taken per lane in f32 over at most `rows_per_sum` wide rows, then in double, block by block in a fixed
// order: they do not depend on the number of threads. The variance is a sum of squares about a shift (the
// mean of up to 32 rows spread over the segment), so that the mean's own square does not drown it. Included
// by the files that name instructions (batchnorm_avx2.cpp).

#include <cstddef>

#include "kernels/cpu/batchnorm.h"
#include "kernels/cpu/batchnorm_partials.h"
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/channel_tiles.h"
#include "kernels/cpu/lanes.h"

namespace rtfq::kernels::cpu {

/// What is summed: two values of elements x (and g), given their channels' centres. A block is read from
/// `places` places at once: pages that are fetched side by side keep more of memory busy than one page after
/// the other (two cores of a Cascade Lake: 16 GB/s from one place, 19 with prefetching, 22 from four), and
/// the sums are fetched once for all.
template <class V>
struct SumSquares {
  using Floats = typename V::Floats;
  static constexpr bool reads_g = false;
  static constexpr int places = 4;
  RTFQ_INLINE static void start(Floats x, Floats, Floats centre, Floats& first, Floats& second) {
    first = V::subtract(x, centre);
    second = V::multiply(first, first);
  }
  RTFQ_INLINE static void add(Floats x, Floats, Floats centre, Floats& first, Floats& second) {
    const Floats d = V::subtract(x, centre);
    first = V::add(first, d);
    second = V::multiply_add(d, d, second);
  }
};

template <class V>
struct SumProducts {
  using Floats = typename V::Floats;
  static constexpr bool reads_g = true;
  static constexpr int places = 2;
  RTFQ_INLINE static void start(Floats x, Floats g, Floats centre, Floats& first, Floats& second) {
    first = g;
    second = V::multiply(g, V::subtract(x, centre));
  }
  RTFQ_INLINE static void add(Floats x, Floats g, Floats centre, Floats& first, Floats& second) {
    first = V::add(first, g);
    second = V::multiply_add(g, V::subtract(x, centre), second);
  }
};

/// Adds a wide row of each of `places` places, `apart` elements apart, to the lanes' sums, all in the order
/// of T's runs; those side by side are added to each other first, since a sum that has grown rounds what is
/// added to it. Lanes that no channel has are not flushed, so what they sum up does not matter.
template <class V, class Sum, int places, class T>
RTFQ_INLINE void add_rows(const T* x, const T* g, int64_t apart, int64_t ahead, const float* centre,
                          int64_t lanes, float* first, float* second) {
  for_each_run_of_32(lanes, [&](int64_t l, int64_t n) RTFQ_INLINE_LAMBDA {
    const auto middle = V::load_run(centre + l);
    typename V::Run a, b;
    const auto at_place = [&](int64_t place, auto&& add) RTFQ_INLINE_LAMBDA {
      const int64_t from = place * apart + l;
      const auto values = stream_run<V>(x + from, ahead, n);
      auto gradients = values;
      if constexpr (Sum::reads_g) gradients = stream_run<V>(g + from, ahead, n);
      for (int part = 0; part < 2; ++part)
        add(values.part[part], gradients.part[part], middle.part[part], a.part[part], b.part[part]);
    };
    at_place(0, Sum::start);
#pragma GCC unroll 4
    for (int place = 1; place < places; ++place) at_place(place, Sum::add);
    for (int part = 0; part < 2; ++part) {
      float *const to = first + l + part * V::width, *const also_to = second + l + part * V::width;
      V::template store<false>(to, V::add(V::load(to), a.part[part]));
      V::template store<false>(also_to, V::add(V::load(also_to), b.part[part]));
    }
  });
}

/// partial[2][c] = the sums over rows [row, row + rows).
template <class V, class Sum, class T>
RTFQ_INLINE void sum_block(const ChannelTiles& tiles, const T* x, const T* g, const float* centre,
                           int64_t row, int64_t rows, double* partial) {
  constexpr int places = Sum::places;
  constexpr int64_t together = BatchNormPartials::rows_per_sum / places;
  const int64_t c = tiles.c, lanes = tiles.lanes(), whole = rows / tiles.fold, part = whole / places;
  const int64_t step = std::min(lanes, ChannelTiles::tile), ahead = tiles.ahead<T>();
  // A load waits for a store to the same place of another page, and lines at the same place share a set of
  // the cache: each array begins a quarter of a page behind the one before, the first one behind x.
  constexpr int64_t page = 4096 / sizeof(float), quarter = page / 4;
  alignas(64) float arrays[3 * ChannelTiles::tile + 3 * page];
  const auto behind = [](float* array, const void* other) {
    const auto apart = reinterpret_cast<std::uintptr_t>(other) - reinterpret_cast<std::uintptr_t>(array);
    return array + (apart / 64 * 16 + static_cast<std::uintptr_t>(quarter)) % page;
  };
  const int64_t room = whole_runs(step);
  float *const first = behind(arrays, x + row * c), *const second = behind(first + room, first),
               *const middle = behind(second + room, second);
  std::fill_n(partial, 2 * c, 0.0);
  const auto add = [&]<int at_once>(int64_t from, int64_t wide_rows, int64_t used) RTFQ_INLINE_LAMBDA {
    for (int64_t t = 0; t < used; t += step) {
      const int64_t width = std::min(step, used - t);
      std::fill_n(first, room, 0.0f);
      std::fill_n(second, room, 0.0f);
      std::copy_n(centre + t, std::min(c, width), middle);
      finish_lanes<T>(middle, c, width);
      for (int64_t at = from + t, end = at + wide_rows * lanes; at < end; at += lanes)
        add_rows<V, Sum, at_once>(x + at, Sum::reads_g ? g + at : nullptr, part * lanes, ahead, middle, width,
                                  first, second);
      add_lanes<T>(first, width, c, partial + t);
      add_lanes<T>(second, width, c, partial + c + t);
    }
  };
  for (int64_t i = 0; i < part; i += together)
    add.template operator()<places>(row * c + i * lanes, std::min(together, part - i), lanes);
  if (const int64_t left = whole - part * places)
    add.template operator()<1>(row * c + part * places * lanes, left, lanes);
  const int64_t rest = (rows - whole * tiles.fold) * c;  // rows that do not fill a wide one
  if (rest) add.template operator()<1>((row + whole * tiles.fold) * c, 1, rest);
}

template <class V, class Sum, class T>
void sum_blocks(const BatchNormShape& s, const T* x, const T* g, const float* centres, double* partials) {
  const BatchNormPartials layout(s);
#pragma omp parallel for schedule(static) if (elements(s) >= parallel_elements)
  for (int64_t i = 0; i < layout.blocks.total(); ++i) {
    const auto [segment, row, rows] = layout.blocks[i];
    sum_block<V, Sum>(layout.tiles, x, g, centres + segment * s.c, row, rows, partials + i * 2 * s.c);
  }
}

template <class V, class T>
void batchnorm_statistics(const BatchNormShape& s, const BatchNormStatisticsArgs& a) {
  const auto [partials, centres] = sums_workspace(s, a.workspace);
  sample_means(s, a.x, centres);
  sum_blocks<V, SumSquares<V>, T>(s, static_cast<const T*>(a.x), nullptr, centres, partials);
  combine_statistics(s, a);
}

template <class V, class T>
void batchnorm_reduce(const BatchNormShape& s, const BatchNormReduceArgs& a) {
  const auto [partials, centres] = sums_workspace(s, a.workspace);
  round_means(s, a.mean, centres);
  sum_blocks<V, SumProducts<V>>(s, static_cast<const T*>(a.x), static_cast<const T*>(a.g), centres, partials);
  combine_reduce(s, a);
}

}  // namespace rtfq::kernels::cpu
