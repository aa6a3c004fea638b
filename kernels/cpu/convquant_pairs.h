#pragma once
// Convolution of codes in AVX2, by pairs of products: what the fused convolution (convquant_avx2.cpp) and the
// one that stores its sums (conv2d_pairs.cpp) share.
//
// A tile is up to 6 output pixels by 16 output channels. vpmaddubsw multiplies unsigned codes by signed
// weights and adds two products; those pairs are added up in 16 bits, in 12 registers, for a run of steps
// (four input channels each), and only then widened and added to sums in 32 bits, which lie in the first
// cache: 24 instructions for 384 multiply-adds, where widening every pair at once takes 36. That is exact,
// since a run is no longer than 16 bits hold: its weights are known when they are packed, and codes go up to
// x_qp (convquant_runs.h). LSQ's weights have small codes (at 8 bits they start at some six of 127 on
// average), so that runs of eight steps and more fit, and whole filters at 4 bits. A run that does not fit is
// computed in two passes, of the lower and of the upper four bits of the codes.
//
// Floor: macs / 32 vpmaddubsw, without those of the padding, and as many vpaddw. A Zen 3 core starts some 3.1
// of them a cycle, 49 multiply-adds; pairs widened at once 31, vfmadd 16. Figures:
// docs/results/cpu-inference.md.

#include <immintrin.h>

#include <cstring>

#include "kernels/cpu/convquant_multiply.h"
#include "kernels/cpu/convquant_runs.h"
#include "kernels/cpu/convquant_worker.h"

namespace rtfq::kernels::cpu {

/// Four codes in every lane.
RTFQ_INLINE __m256i four_codes(const uint8_t* from) {
  int32_t four;
  std::memcpy(&four, from, sizeof four);
  return _mm256_set1_epi32(four);
}

RTFQ_INLINE __m256i weights_at(const int8_t* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

/// sums[P][2] = before + pairs widened, times `worth`; `stride`: vectors from a pixel's sums before to the
/// next one's.
template <int P>
RTFQ_INLINE void widen(const __m256i (&pairs)[P][2], int16_t worth, const __m256i* before, int64_t stride,
                       __m256i* sums) {
  const __m256i worths = _mm256_set1_epi16(worth);
  each<P>([&](auto i) RTFQ_INLINE_LAMBDA {
    each<2>([&](auto v) RTFQ_INLINE_LAMBDA {
      sums[2 * i + v] = _mm256_add_epi32(_mm256_loadu_si256(before + stride * i + v),
                                         _mm256_madd_epi16(pairs[i][v], worths));
    });
  });
}

/// A run's products, added to the sums [P][2], or to those that every pixel starts at where `start` is not
/// null.
template <int P>
RTFQ_INLINE void add_run(const uint8_t* const* codes, int64_t steps, PairCursor& run, const __m256i* start,
                         __m256i* sums) {
  __m256i pairs[P][2];
  multiply<P>(codes, steps, run, pairs);
  start ? widen<P>(pairs, 1, start, 0, sums) : widen<P>(pairs, 1, sums, 2, sums);
}

/// A run that 16 bits do not hold, of the lower or the upper four bits of the codes.
template <int P, bool upper>
void add_half_run(const uint8_t* const* codes, int64_t steps, PairCursor run, const __m256i* start,
                  __m256i* sums) {
  const __m256i four_bits = _mm256_set1_epi8(15);
  for (int64_t begin = 0; begin < steps; begin += split_steps) {
    __m256i pairs[P][2] = {};
    for (int64_t i = begin; i < std::min(steps, begin + split_steps); ++i, run.at += 4, run.weights += 64)
      for (int p = 0; p < P; ++p) {
        const __m256i all = four_codes(codes[p] + run.at),
                      half = _mm256_and_si256(upper ? _mm256_srli_epi32(all, 4) : all, four_bits);
        for (int v = 0; v < 2; ++v)
          pairs[p][v] =
              _mm256_add_epi16(pairs[p][v], _mm256_maddubs_epi16(half, weights_at(run.weights + 32 * v)));
      }
    start ? widen<P>(pairs, upper ? 16 : 1, start, 0, sums) : widen<P>(pairs, upper ? 16 : 1, sums, 2, sums);
    start = nullptr;
  }
}

/// What the tiles of 16 output channels in a region have in common.
struct PairTaps {
  int64_t rows, columns;          ///< that they see
  int64_t steps, run_steps;       ///< of a tap, and of a run
  int64_t code_row, code_column;  ///< from a tap's codes to those of the next row, column
  int64_t taps_row;               ///< taps from one row to the next
  int64_t tap_bytes, tap_runs;    ///< weights and runs of a tap
  const int8_t* weights;          ///< of the first tap
  const uint8_t* runs;            ///< of the first tap: which are long
  const __m256i* start;           ///< what sums start at
};

template <int P>
RTFQ_INLINE const uint8_t* add_taps(const uint8_t* const* codes, const PairTaps& taps, __m256i* sums,
                                    Ahead ahead) {
  const __m256i* start = taps.start;
  if (taps.rows * taps.columns == 0)  // all padding
    for (int i = 0; i < 2 * P; ++i) sums[i] = _mm256_loadu_si256(start + i % 2);
  for (int64_t row = 0; row < taps.rows; ++row)
    for (int64_t column = 0; column < taps.columns; ++column) {
      const int64_t tap = row * taps.taps_row + column;
      const uint8_t* runs = taps.runs + tap * taps.tap_runs;
      PairCursor run{row * taps.code_row + column * taps.code_column, taps.weights + tap * taps.tap_bytes,
                     ahead};
      for (int64_t left = taps.steps; left > 0; left -= taps.run_steps, ++runs) {
        const int64_t steps = std::min(left, taps.run_steps);
        if (*runs) [[unlikely]] {
          add_half_run<P, false>(codes, steps, run, start, sums);
          add_half_run<P, true>(codes, steps, run, nullptr, sums);
          run.at += 4 * steps, run.weights += 64 * steps;
        } else {
          add_run<P>(codes, steps, run, start, sums);
        }
        start = nullptr;
      }
      ahead.from = run.ahead.from;
    }
  return ahead.from;
}

/// P pixels by 16 output channels, from `channel` on. Returns how far it fetched what is ahead.
template <int P, class F>
const uint8_t* pair_tile(const ConvPixels& pixels, const PairTaps& taps, const F& finish, int64_t channel,
                         Ahead ahead) {
  alignas(32) __m256i sums[2 * P];
  const uint8_t* fetched = add_taps<P>(pixels.codes, taps, sums, ahead);
  finish.template tile<P>(sums, pixels.outputs, channel);
  return fetched;
}

template <class F>
using PairTile = const uint8_t* (*)(const ConvPixels&, const PairTaps&, const F&, int64_t, Ahead);
template <class F>
inline constexpr PairTile<F> pair_tiles[ConvTiles::tile_pixels] = {
    pair_tile<1, F>, pair_tile<2, F>, pair_tile<3, F>, pair_tile<4, F>, pair_tile<5, F>, pair_tile<6, F>};

struct Avx2Kernel {
  static constexpr int64_t group_vectors = 4, finish_steps = 8;
  static constexpr bool vectors_apart = true;

  template <class F>
  class Tiles {
   public:
    Tiles(const ConvPlan<Avx2Kernel>& plan, const int8_t* packed, int64_t group,
          const ConvTiles::Region& region, const F& finish)
        : vectors_(plan.vectors_of(group)), channel_(group * group_vectors * lanes), finish_(finish) {
      const RunTable<const int8_t> table(plan, packed);
      const int64_t first = region.rows.first * plan.columns + region.columns.first;
      for (int64_t v = 0; v < vectors_; ++v) {
        const int64_t vector = group * group_vectors + v, run_steps = table.run_steps(vector),
                      tap_bytes = plan.steps * 64, tap_runs = (plan.steps - 1) / run_steps + 1;
        taps_[v] = {.rows = region.rows.taps(),
                    .columns = region.columns.taps(),
                    .steps = plan.steps,
                    .run_steps = run_steps,
                    .code_row = plan.line,
                    .code_column = plan.s.c,
                    .taps_row = plan.columns,
                    .tap_bytes = tap_bytes,
                    .tap_runs = tap_runs,
                    .weights = packed + plan.place(vector * lanes, first, 0, 0),
                    .runs = table.long_runs(vector) + first * tap_runs,
                    .start = reinterpret_cast<const __m256i*>(packed + plan.weight_bytes()) + 2 * vector};
      }
    }

    int64_t steps() const { return taps_[0].rows * taps_[0].columns * taps_[0].steps; }

    RTFQ_INLINE void operator()(const ConvPixels& pixels, Ahead ahead) const {
      // Two steps of one vector at a time; a line holds no more.
      ahead.each_step = std::min<int64_t>(64, (2 * ahead.each_step + vectors_ - 1) / vectors_);
      for (int64_t v = 0; v < vectors_; ++v)
        ahead.from = pair_tiles<F>[pixels.count - 1](pixels, taps_[v], finish_, channel_ + v * lanes, ahead);
    }

   private:
    int64_t vectors_, channel_;
    const F& finish_;
    PairTaps taps_[group_vectors];
  };
};

/// Bytes of the packed weights.
inline std::size_t pairs_bytes(const ConvPlan<Avx2Kernel>& plan) {
  return static_cast<std::size_t>(plan.weight_bytes() + plan.start_bytes() +
                                  RunTable<const int8_t>::bytes(plan));
}

/// The weights, and how long runs of them are with codes up to `x_qp`.
inline void pack_pairs(const ConvPlan<Avx2Kernel>& plan, const void* weights, void* packed, int32_t x_qp) {
  auto* to = static_cast<int8_t*>(packed);
  std::memset(packed, 0, pairs_bytes(plan));
  pack_weights(plan, static_cast<const int8_t*>(weights), to);
  RunTable<int8_t> table(plan, to);
#pragma omp parallel for schedule(dynamic) if (plan.weight_bytes() > 100000)
  for (int64_t vector = 0; vector < plan.vectors; ++vector)
    choose_runs(plan, to, vector, plan.image ? 255 : x_qp, table);
}

}  // namespace rtfq::kernels::cpu
