#pragma once
// The threads' shares of the fused convolution by steps of four products, in the order chunk of pixels, group
// of output channels, tile. A kernel (convquant_vnni.cpp, convquant_avx2.cpp) computes the tiles: it has
//   group_vectors, finish_steps           of a tile; what its end costs, in steps
//   vectors_apart                         whether weights of a group lie vector by vector
//   Tiles<Finish>(plan, packed, group, region, finish), of one group in one region, with
//   steps()                               of a tile
//   (pixels, ahead)                       computes and finishes one, fetching what is ahead

#include <omp.h>

#include "kernels/cpu/convquant_plan.h"

namespace rtfq::kernels::cpu {

/// Bytes that will be read soon: a few each step, so that fetching them hides behind the products.
struct Ahead {
  const uint8_t* from;
  int64_t each_step;
};

/// Packed weights, and those that are wanted next (ConvQuantArgs).
struct ConvWeights {
  const void* packed;
  const void* next = nullptr;
  std::size_t next_bytes = 0;
};

/// A thread's share of the work: as much of its cost as everybody has.
template <class Kernel, class F>
class ConvWorker {
 public:
  using Plan = ConvPlan<Kernel>;

  ConvWorker(const Plan& plan, const ConvTiles& tiles, const uint8_t* x, const ConvWeights& weights,
             const F& finish, int64_t me, int64_t threads)
      : threads_(threads),
        plan_(plan),
        tiles_(tiles),
        x_(x),
        packed_(static_cast<const int8_t*>(weights.packed)),
        finish_(finish),
        next_bytes_(static_cast<int64_t>(weights.next_bytes) / threads),
        next_(static_cast<const uint8_t*>(weights.next) + next_bytes_ * me),
        from_(tiles.cost() * plan.vectors * me / threads),
        to_(tiles.cost() * plan.vectors * (me + 1) / threads) {}

  void run() {
    // A chunk's codes stay in the second-level cache while groups of output channels take turns. Where
    // threads share the work they get pixels of their own, unless all is small: what one wrote and the other
    // needs is far away if they do not share a cache.
    constexpr int64_t chunk_bytes = 256 << 10, shared_bytes = 384 << 10;
    const int64_t x_bytes = plan_.s.n * plan_.image_bytes,
                  bytes = x_bytes + plan_.s.n * plan_.p * plan_.q * plan_.s.k * F::output_bytes();
    int64_t chunks =
        threads_ > 1 ? up(bytes, shared_bytes) / shared_bytes : up(x_bytes, chunk_bytes) / chunk_bytes;
    if (chunks > 1) chunks = up(chunks, threads_);
    int64_t before = 0;
    for (int64_t chunk = 0; chunk < chunks && before < to_; ++chunk) {
      const int64_t begin = tiles_.cost_before(tiles_.tiles() * chunk / chunks),
                    end = tiles_.cost_before(tiles_.tiles() * (chunk + 1) / chunks);
      for (int64_t group = 0; group < plan_.groups(); ++group) {
        const int64_t vectors = plan_.vectors_of(group), behind = before + (end - begin) * vectors,
                      first = std::max(from_, before), last = std::min(to_, behind);
        const auto tile = [&](int64_t at) { return tiles_.tile_at(begin + (at - before) / vectors); };
        if (first < last)
          run_group(group, tile(first), tile(last),
                    behind < to_ && chunks > 1
                        ? Ahead{}
                        : weights_ahead(group, (last - first) / vectors, behind < to_));
        before = behind;
      }
    }
  }

 private:
  /// Weights to fetch while so much is computed of a group: the next group's where there is one, else what
  /// the next operation begins with.
  Ahead weights_ahead(int64_t group, int64_t cost, bool more) const {
    constexpr int64_t line = 64, most = 256 << 10;
    const int64_t bytes = more ? plan_.group_bytes() : std::min(most, next_bytes_),
                  steps = cost / ConvTiles::tile_pixels + 1;
    const auto* from =
        more ? reinterpret_cast<const uint8_t*>(packed_) + (group + 1) * plan_.group_bytes() : next_;
    return {from, std::min(line, (bytes + steps - 1) / steps)};
  }

  /// Tiles [first, last) for a group of output channels.
  void run_group(int64_t group, int64_t first, int64_t last, Ahead weights) {
    while (first < last) {
      const ConvTiles::Region& region = tiles_.region_of(first);
      const int64_t next = std::min(last, region.tiles_before + region.tiles);
      run_region(group, region, first - region.tiles_before, next - region.tiles_before, weights);
      first = next;
    }
  }

  /// Tiles [first, last) of a region. Where no weights are to be fetched, the codes of the next tile are.
  void run_region(int64_t group, const ConvTiles::Region& region, int64_t first, int64_t last,
                  Ahead& weights) {
    const Conv2dShape& s = plan_.s;
    const typename Kernel::template Tiles<F> compute(plan_, packed_, group, region, finish_);
    const int64_t steps = compute.steps(), channel = group * Plan::group_channels,
                  lowest_row = (region.rows.taps() - 1) * plan_.line,
                  codes_each_step =
                      steps > 0 ? up(ConvTiles::tile_pixels * s.stride * s.c, steps) / steps : 0;
    ConvWalk<Kernel> walk(plan_, region, x_, first);
    ConvPixels tiles[2];
    walk.next(tiles[first % 2]);
    for (int64_t t = first; t < last; ++t) {
      const ConvPixels& pixels = tiles[t % 2];
      Ahead ahead = weights.from ? weights : Ahead{pixels.codes[0], 0};
      if (weights.from) weights.from += weights.each_step * steps;
      if (t + 1 < last) {
        ConvPixels& next = tiles[(t + 1) % 2];
        walk.next(next);
        finish_.fetch(next.outputs, next.count, channel);
        // The lowest row; the others have been read before.
        if (!weights.from) ahead = {next.codes[0] + lowest_row, codes_each_step};
      }
      compute(pixels, ahead);
    }
  }

  int64_t threads_;
  const Plan& plan_;
  const ConvTiles& tiles_;
  const uint8_t* x_;
  const int8_t* packed_;
  const F& finish_;
  int64_t next_bytes_;
  const uint8_t* next_;  ///< this thread's part of what the next operation reads
  int64_t from_, to_;
};

template <class Kernel>
ConvTiles tiles_of(const ConvPlan<Kernel>& plan) {
  const Conv2dShape& s = plan.s;
  TapSpan rows[ConvTiles::most_spans], columns[ConvTiles::most_spans];
  const int row_spans =
      plan.image ? whole_axis(plan.p, s.r, rows) : cut_axis(s.h, s.r, s.stride, s.pad, plan.p, rows);
  const int column_spans =
      plan.image ? whole_axis(plan.q, 1, columns) : cut_axis(s.w, s.s, s.stride, s.pad, plan.q, columns);
  return {s.n, rows, row_spans, columns, column_spans, plan.steps, Kernel::finish_steps};
}

/// The whole convolution; x as read_codes gives it.
template <class Kernel, class F>
void convolve(const ConvPlan<Kernel>& plan, const uint8_t* x, const ConvWeights& weights, const F& finish) {
  constexpr int64_t serial_macs = 1 << 19;
  const ConvTiles all = tiles_of(plan);
  if (macs(plan.s) <= serial_macs || omp_in_parallel())
    return ConvWorker<Kernel, F>(plan, all, x, weights, finish, 0, 1).run();
#pragma omp parallel
  ConvWorker<Kernel, F>(plan, all, x, weights, finish, omp_get_thread_num(), omp_get_num_threads()).run();
}

}  // namespace rtfq::kernels::cpu
