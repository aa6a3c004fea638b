// The fused convolution in AMX. An item of work is two tiles of 16 positions by 64 output channels: for each
// pair of 16 channels, a step of 64 codes loads two registers of pixels and two of weights for four products.
// Sums go to memory that stays in the first cache; while the next item is multiplied, they are finished
// between its products, which use other parts of the core.
//
// Floor: macs / 1024 cycles, full tiles. A step of four products, 64 cycles, with loads from the second-level
// cache takes about 78 (Granite Rapids). Loads: weights once for each two tiles, 32 bytes a cycle, from that
// cache; pixels from the first, since all of a filter's taps read the same lines. Figures:
// docs/results/cpu-inference.md.
//
// Weights are packed as [group of up to 64 output channels][up to 32 of them][filter row][step of 64
// codes][up to 16 channels at a time][16][16 channels][4 codes].
#include <omp.h>

#include <algorithm>
#include <cstring>

#include "kernels/cpu/amx.h"
#include "kernels/cpu/convquant.h"
#include "kernels/cpu/convquant_amx_plan.h"
#include "kernels/cpu/convquant_finish.h"

namespace rtfq::kernels::cpu {
namespace {

constexpr int64_t most_depth = 32768;

/// Threads that find room for copies in a workspace, whoever asks for it and whoever launches.
int most_threads() {
  static const int count = omp_get_num_procs();
  return count;
}

/// Where the codes of one or two tiles begin, and how the filter's rows follow: as lines, those of another
/// phase elsewhere.
struct Codes {
  const uint8_t* tiles[2];
  int64_t apart, taps, steps, line_bytes, phase_bytes, phases;
};

/// Sums of M by N registers to `sums`, in rows of 64; `meanwhile` is called at each step. A tile's store that
/// follows no other for 700 ns or more takes 280 ns longer (Granite Rapids, whatever is done meanwhile), so
/// that every 16 steps there is one that nobody reads.
template <int M, int N, bool signed_x, class Meanwhile>
RTFQ_INLINE void multiply(const Codes& x, const int8_t* weights, int32_t* sums, const Meanwhile& meanwhile) {
  constexpr int64_t awake_steps = 16;
  alignas(64) uint8_t unread[amx::row_bytes];
  int64_t awake = awake_steps;
  each<M * N>([](auto i) RTFQ_INLINE_LAMBDA { amx::zero<i>(); });
  for (int64_t tap = 0, line = 0, phase = 0; tap < x.taps; ++tap) {
    const uint8_t* codes[M];
    each<M>([&](auto m)
                RTFQ_INLINE_LAMBDA { codes[m] = x.tiles[m] + line * x.line_bytes + phase * x.phase_bytes; });
    if (++phase == x.phases) phase = 0, ++line;
    for (int64_t step = 0; step < x.steps; ++step, weights += N * amx::tile_bytes) {
      each<M>([&](auto m) RTFQ_INLINE_LAMBDA {
        amx::load<4 + m>(codes[m], x.apart);
        codes[m] += amx::row_bytes;
      });
      each<N>([&](auto n) RTFQ_INLINE_LAMBDA { amx::load<6 + n>(weights + n * amx::tile_bytes, 64); });
      each<M>([&](auto m) RTFQ_INLINE_LAMBDA {
        each<N>([&](auto n) RTFQ_INLINE_LAMBDA { amx::multiply<m * N + n, 4 + m, 6 + n, signed_x>(); });
      });
      meanwhile();
      if (--awake == 0) {
        amx::store<4>(unread, 0);
        awake = awake_steps;
      }
    }
  }
  each<M>([&](auto m) RTFQ_INLINE_LAMBDA {
    each<N>([&](auto n) RTFQ_INLINE_LAMBDA {
      amx::store<m * N + n>(sums + m * amx::rows * group_channels + n * lanes, group_channels * 4);
    });
  });
}

/// An item's sums that are still to be finished, `at` of its positions on.
struct Unfinished {
  const AmxPositions* positions = nullptr;
  const int32_t* sums = nullptr;
  int64_t channel = 0, at = 0, count = 0;

  RTFQ_INLINE const int32_t* sums_of_next() const { return sums + positions->rows[at] * group_channels; }
};

/// Bytes that will be wanted soon, fetched into the second-level cache a few lines at each step.
struct Ahead {
  const std::byte *at = nullptr, *end = nullptr;
  int64_t lines = 0;  ///< at each step

  RTFQ_INLINE void fetch() {
    constexpr int64_t line = 64;
    for (int64_t i = 0; i < lines && at < end; ++i, at += line) _mm_prefetch(at, _MM_HINT_T1);
  }
};

/// A thread's share of the work: some units, some groups.
template <class F>
class Worker {
 public:
  Worker(const AmxPlan& plan, const ConvQuantArgs& a, const F& finish, int64_t me, int64_t threads)
      : plan_(plan),
        x_(static_cast<const uint8_t*>(a.x)),
        packed_(static_cast<const int8_t*>(a.packed)),
        next_packed_(static_cast<const std::byte*>(a.next_packed)),
        finish_(finish) {
    const AmxPlan::Grid grid = plan.grid(threads);
    copy_ = static_cast<uint8_t*>(a.workspace) + me * plan.copy_bytes(grid);
    const int64_t i = me % grid.units, j = me / grid.units;
    unit_from_ = plan.units * i / grid.units, unit_to_ = plan.units * (i + 1) / grid.units;
    group_from_ = plan.groups * j / grid.groups, group_to_ = plan.groups * (j + 1) / grid.groups;
    // What the next operation's weights are shared out by is likely what these are.
    constexpr int64_t most_ahead = 1 << 20;
    const auto next_bytes = static_cast<int64_t>(a.next_bytes);
    next_packed_ += next_bytes * j / grid.groups;
    next_bytes_ = std::min(most_ahead, next_bytes / grid.groups);
  }

  void run() {
    if (unit_from_ == unit_to_ || group_from_ == group_to_) return;
    const amx::Tiles tiles(plan_.rows);
    plan_.s.x_type == RTFQ_S8 ? run_chunks<true>() : run_chunks<false>();
    finish(left_);
  }

 private:
  template <bool signed_x>
  void run_chunks() {
    const int64_t all = unit_to_ - unit_from_, chunks = up(all, plan_.chunk) / plan_.chunk;
    const int64_t size = up(all, chunks) / chunks;
    for (int64_t begin = unit_from_, end = 0; begin < unit_to_; begin = end) {
      end = std::min(begin + size, unit_to_);
      if (plan_.mode == AmxPlan::Mode::patches) end = std::min(end, (begin / plan_.p + 1) * plan_.p);
      run_chunk<signed_x>(begin, end);
    }
  }

  template <bool signed_x>
  void run_chunk(int64_t begin, int64_t end) {
    const uint8_t* codes = plan_.codes(x_, begin, end, copy_);
    const int64_t tiles = plan_.tiles(begin, end);
    if (plan_.group_outer) {
      for (int64_t group = group_from_; group < group_to_; ++group) {
        fetch_during(group, end, tiles);
        for (int64_t tile = 0; tile < tiles; tile += 2) {
          const Codes x = block(codes, tile, tiles, begin, end);
          run_item<signed_x>(x, std::min<int64_t>(2, tiles - tile), group);
        }
      }
    } else {
      if (begin == unit_from_) fetch_during(group_to_ - 1, end, tiles * (group_to_ - group_from_));
      for (int64_t tile = 0; tile < tiles; tile += 2) {
        const Codes x = block(codes, tile, tiles, begin, end);
        for (int64_t group = group_from_; group < group_to_; ++group)
          run_item<signed_x>(x, std::min<int64_t>(2, tiles - tile), group);
      }
    }
  }

  /// Weights that will be wanted after those of `group`, while so many tiles are computed: the next group's
  /// where they are read once, else the next operation's.
  void fetch_during(int64_t group, int64_t end, int64_t tiles) {
    const std::byte* from = next_packed_;
    int64_t bytes = next_bytes_;
    if (group + 1 < group_to_) {
      from = reinterpret_cast<const std::byte*>(packed_ + plan_.pair_at(group + 1, 0));
      bytes = plan_.vectors_of(group + 1) * plan_.all_steps() * amx::tile_bytes;
    } else if (end < unit_to_ && plan_.group_outer) {
      bytes = 0;
    }
    const int64_t steps = std::max<int64_t>(1, tiles * plan_.all_steps());
    ahead_ = {from, from + bytes, (bytes / 64 + steps - 1) / steps};
  }

  /// One or two tiles from `tile` on; their positions in the place of those before the last.
  RTFQ_INLINE Codes block(const uint8_t* codes, int64_t tile, int64_t tiles, int64_t begin, int64_t end) {
    positions_ = left_.positions == &blocks_[0] ? &blocks_[1] : &blocks_[0];
    positions_->count = 0;
    Codes x{{codes + plan_.tile_at(tile, begin, end, 0, *positions_), nullptr},
            plan_.apart,
            plan_.taps,
            plan_.steps,
            plan_.line_bytes,
            plan_.lines_of(begin, end) * plan_.line_bytes,
            plan_.s.stride};
    if (tile + 1 < tiles) x.tiles[1] = codes + plan_.tile_at(tile + 1, begin, end, amx::rows, *positions_);
    return x;
  }

  template <bool signed_x>
  void run_item(const Codes& x, int64_t tiles, int64_t group) {
    int32_t* const sums = sums_[which_ ^= 1];
    Unfinished left = left_;
    const typename F::Group shared = finish_.group_of(left.channel);
    const typename F::Norm norm = finish_.norm_of(left.channel, shared);
    const int64_t *row = left.positions ? left.positions->rows : nullptr,
                  *output = left.positions ? left.positions->outputs : nullptr, *const end = row + left.count;
    const int32_t* const finished = left.sums;
    Ahead ahead = ahead_;
    // Captured by value, constants stay in registers.
    const auto meanwhile = [&row, &output, &ahead, end, finished, shared, norm]() RTFQ_INLINE_LAMBDA {
      ahead.fetch();
      if (row == end) return;
      F::template pixel<false>(finished + *row * group_channels, norm, shared, *output);
      ++row, ++output;
    };
    const auto only_fetch = [&ahead]() RTFQ_INLINE_LAMBDA { ahead.fetch(); };  // elsewhere, for less code
    const int64_t vectors = plan_.vectors_of(group);
    for (int64_t v = 0, pair = 0; v < vectors; v += AmxPlan::pair_vectors, ++pair) {
      const int8_t* weights = packed_ + plan_.pair_at(group, pair);
      int32_t* const to = sums + v * lanes;
      const bool two = vectors - v > 1;
      if (tiles > 1)
        two ? multiply<2, 2, signed_x>(x, weights, to, meanwhile)
            : multiply<2, 1, signed_x>(x, weights, to, only_fetch);
      else
        two ? multiply<1, 2, signed_x>(x, weights, to, only_fetch)
            : multiply<1, 1, signed_x>(x, weights, to, only_fetch);
    }
    ahead_ = ahead;
    left.at = left.count - (end - row);
    finish(left);
    left_ = {positions_, sums, group * group_channels, 0, positions_->count};
  }

  void finish(Unfinished left) const {
    const typename F::Group shared = finish_.group_of(left.channel);
    const typename F::Norm norm = finish_.norm_of(left.channel, shared);
    for (; left.at < left.count; ++left.at)
      F::template pixel<false>(left.sums_of_next(), norm, shared, left.positions->outputs[left.at]);
  }

  const AmxPlan& plan_;
  const uint8_t* x_;
  const int8_t* packed_;
  const std::byte* next_packed_;
  const F& finish_;
  int64_t next_bytes_;
  Ahead ahead_;
  uint8_t* copy_;
  int64_t unit_from_, unit_to_, group_from_, group_to_;
  AmxPositions blocks_[2];
  AmxPositions* positions_ = &blocks_[0];
  int which_ = 0;
  Unfinished left_;
  alignas(64) int32_t sums_[2][2 * amx::rows * group_channels] = {};
};

template <class F>
void convolve(const AmxPlan& plan, const ConvQuantArgs& a, const F& finish) {
  constexpr int64_t serial_cycles = 10000;
  const int threads = std::min(omp_get_max_threads(), most_threads());
  if (threads == 1 || omp_in_parallel() || plan.cost({1, 1}) <= serial_cycles)
    return Worker<F>(plan, a, finish, 0, 1).run();
#pragma omp parallel num_threads(threads)
  Worker<F>(plan, a, finish, omp_get_thread_num(), omp_get_num_threads()).run();
}

}  // namespace

const char* convquant_amx_unsupported(const ConvQuantShape& s) {
  return s.conv.r * s.conv.s * s.conv.c <= most_depth ? nullptr : "sums of more than 32,768 products";
}

std::size_t convquant_amx_workspace(const ConvQuantShape& s) {
  return static_cast<std::size_t>(AmxPlan(s.conv).workspace_bytes(most_threads()));
}

std::size_t convquant_amx_packed(const ConvQuantShape& s) {
  return static_cast<std::size_t>(AmxPlan(s.conv).weight_bytes());
}

void convquant_amx_pack(const ConvQuantShape& shape, const void* weights, void* packed, Stream) {
  const AmxPlan plan(shape.conv);
  const Conv2dShape& s = shape.conv;
  std::memset(packed, 0, convquant_amx_packed(shape));
  for (int64_t k = 0; k < s.k; ++k)
    for (int64_t r = 0; r < s.r; ++r)
      for (int64_t column = 0; column < s.s; ++column) {
        const int8_t* from =
            static_cast<const int8_t*>(weights) + ((k * s.r + r) * s.s + column) * s.c_parent;
        for (int64_t c = 0; c < s.c; ++c)
          static_cast<int8_t*>(packed)[plan.place(k, r, column * s.c + c)] = from[c];
      }
}

void convquant_amx(const ConvQuantShape& s, const ConvQuantArgs& a, Stream) {
  const AmxPlan plan(s.conv);
  with_finish<Finish>(s, a, [&](const auto& finish) { convolve(plan, a, finish); });
}

}  // namespace rtfq::kernels::cpu
