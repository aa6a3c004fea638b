// The fused convolution in AVX2. A tile is up to 6 output pixels by 16 output channels. vpmaddubsw multiplies
// unsigned codes by signed weights and adds two products; those pairs are added up in 16 bits, in 12
// registers, for a run of steps (four input channels each), and only then widened and added to sums in 32
// bits, which lie in the first cache: 24 instructions for 384 multiply-adds, where widening every pair of
// products takes 36. That is exact because runs are so short that 16 bits hold them: with codes up to x_qp,
// and the weights of a run known when they are packed, no partial sum can leave them. LSQ's weights have
// small codes (at 8 bits, seven of 127 on average), so that runs of eight steps and more fit, at 4 bits whole
// filters. A run that does not fit is computed in two passes, of the lower and of the upper four bits of the
// codes; its length is that which costs a group of channels least.
//
// Floor: macs / 32 vpmaddubsw, without those of the padding; a core that starts two each cycle does 64
// multiply-adds a cycle, against 32 of vpmaddwd and 16 of vfmadd. Figures: docs/results/cpu-inference.md.
#include "kernels/cpu/convquant.h"
#include "kernels/cpu/convquant_finish_avx2.h"
#include "kernels/cpu/convquant_runs.h"
#include "kernels/cpu/convquant_worker.h"

namespace rtfq::kernels::cpu {
namespace {

/// Which bits of the codes take part in products.
enum class Bits { all, lower, upper };

/// A pixel's codes, of which a product reads four.
using Codes = const uint8_t (*)[];

/// Two vectors of pairs of products, of the codes 4 (at + ahead) and behind it. The instructions and their
/// order are spelled out: g++ 12 would load the codes of all pixels first, have no registers left for the
/// sums, and count every pixel's address up by itself.
template <int ahead>
RTFQ_INLINE void set_pairs(__m256i (&pairs)[2], const uint8_t* codes, int64_t at, __m256i low, __m256i high) {
  asm("vpbroadcastd %c[ahead](%[codes],%[at],4), %[b]\n\t"
      "vpmaddubsw %[low], %[b], %[a]\n\t"
      "vpmaddubsw %[high], %[b], %[b]"
      : [a] "=&x"(pairs[0]), [b] "=&x"(pairs[1])
      : [codes] "r"(codes), [at] "r"(at), [ahead] "i"(4 * ahead), [low] "x"(low), [high] "x"(high),
        "m"(*reinterpret_cast<Codes>(codes)));
}
/// The same, added to those before.
template <int ahead>
RTFQ_INLINE void add_pairs(__m256i (&pairs)[2], const uint8_t* codes, int64_t at, __m256i low, __m256i high) {
  __m256i first, second;
  asm("vpbroadcastd %c[ahead](%[codes],%[at],4), %[second]\n\t"
      "vpmaddubsw %[low], %[second], %[first]\n\t"
      "vpmaddubsw %[high], %[second], %[second]\n\t"
      "vpaddw %[first], %[a], %[a]\n\t"
      "vpaddw %[second], %[b], %[b]"
      : [a] "+x"(pairs[0]), [b] "+x"(pairs[1]), [first] "=&x"(first), [second] "=&x"(second)
      : [codes] "r"(codes), [at] "r"(at), [ahead] "i"(4 * ahead), [low] "x"(low), [high] "x"(high),
        "m"(*reinterpret_cast<Codes>(codes)));
}
/// Of the lower or the upper four bits of the codes.
template <bool upper>
RTFQ_INLINE void add_half_pairs(__m256i (&pairs)[2], const uint8_t* codes, __m256i low, __m256i high) {
  int32_t value;
  std::memcpy(&value, codes, sizeof value);
  const __m256i all = _mm256_set1_epi32(value), four = _mm256_set1_epi8(15),
                half = _mm256_and_si256(upper ? _mm256_srli_epi32(all, 4) : all, four);
  pairs[0] = _mm256_add_epi16(pairs[0], _mm256_maddubs_epi16(half, low));
  pairs[1] = _mm256_add_epi16(pairs[1], _mm256_maddubs_epi16(half, high));
}

/// sums[P][2] = before + pairs widened, times `worth`; `stride`: vectors from a pixel's sums before to the next
/// one's.
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

/// A run of a tap: steps [begin, end).
struct Run {
  int64_t begin, end;
  const int8_t* weights;  ///< of the tap
};

/// The run's products, added to the sums [P][2], or to those that every pixel starts at where `start` is not
/// null. codes[i]: those of a pixel, of the tap. Returns how far it fetched what is ahead.
template <int P>
RTFQ_INLINE const uint8_t* add_run(const uint8_t* const (&codes)[P], Run run, const __m256i* start,
                                   __m256i* sums, Ahead ahead) {
  __m256i pairs[P][2];
  int64_t at = run.begin;
  const auto* w = reinterpret_cast<const __m256i*>(run.weights + at * 64);
  const auto set = [&]<int i>() RTFQ_INLINE_LAMBDA {
    const __m256i low = _mm256_loadu_si256(w + 2 * i), high = _mm256_loadu_si256(w + 2 * i + 1);
    each<P>([&](auto p) RTFQ_INLINE_LAMBDA { set_pairs<i>(pairs[p], codes[p], at, low, high); });
  };
  const auto add = [&]<int i>() RTFQ_INLINE_LAMBDA {
    const __m256i low = _mm256_loadu_si256(w + 2 * i), high = _mm256_loadu_si256(w + 2 * i + 1);
    each<P>([&](auto p) RTFQ_INLINE_LAMBDA { add_pairs<i>(pairs[p], codes[p], at, low, high); });
  };
  set.template operator()<0>();
  if (at + 1 < run.end) {
    add.template operator()<1>();
    for (at += 2, w += 4; at + 1 < run.end; at += 2, w += 4) {
      asm volatile("prefetcht0 (%0)\n\tadd %1, %0" : "+r"(ahead.from) : "r"(ahead.each_step) : "cc");
      add.template operator()<0>();
      add.template operator()<1>();
    }
    if (at < run.end) add.template operator()<0>();
  }
  start ? widen<P>(pairs, 1, start, 0, sums) : widen<P>(pairs, 1, sums, 2, sums);
  return ahead.from;
}

/// A run that 16 bits do not hold, of the lower or the upper four bits of the codes.
template <int P, bool upper>
void add_half_run(const uint8_t* const (&codes)[P], Run run, const __m256i* start, __m256i* sums) {
  for (int64_t begin = run.begin; begin < run.end; begin += split_steps) {
    __m256i pairs[P][2] = {};
    for (int64_t at = begin; at < std::min(run.end, begin + split_steps); ++at) {
      const auto* w = reinterpret_cast<const __m256i*>(run.weights + at * 64);
      for (int i = 0; i < P; ++i)
        add_half_pairs<upper>(pairs[i], codes[i] + 4 * at,
                              _mm256_loadu_si256(w), _mm256_loadu_si256(w + 1));
    }
    start ? widen<P>(pairs, upper ? 16 : 1, start, 0, sums) : widen<P>(pairs, upper ? 16 : 1, sums, 2, sums);
    start = nullptr;
  }
}

/// What the tiles of 16 output channels in a region have in common.
struct Taps {
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
RTFQ_INLINE const uint8_t* add_taps(const uint8_t* const* codes, const Taps& taps, __m256i* sums,
                                    Ahead ahead) {
  const __m256i* start = taps.start;
  for (int64_t row = 0; row < taps.rows; ++row)
    for (int64_t column = 0; column < taps.columns; ++column) {
      const int64_t tap = row * taps.taps_row + column,
                    offset = row * taps.code_row + column * taps.code_column;
      const uint8_t* x[P];
      each<P>([&](auto i) RTFQ_INLINE_LAMBDA { x[i] = codes[i] + offset; });
      const int8_t* weights = taps.weights + tap * taps.tap_bytes;
      const uint8_t* runs = taps.runs + tap * taps.tap_runs;
      for (int64_t begin = 0; begin < taps.steps; begin += taps.run_steps, ++runs) {
        const Run run{begin, std::min(taps.steps, begin + taps.run_steps), weights};
        if (*runs) [[unlikely]] {
          add_half_run<P, false>(x, run, start, sums);
          add_half_run<P, true>(x, run, nullptr, sums);
        } else {
          ahead.from = add_run<P>(x, run, start, sums, ahead);
        }
        start = nullptr;
      }
    }
  return ahead.from;
}

/// P pixels by 16 output channels, from `channel` on. Returns how far it fetched what is ahead.
template <int P, class F>
const uint8_t* tile(const ConvPixels& pixels, const Taps& taps, const F& finish, int64_t channel,
                    Ahead ahead) {
  alignas(32) __m256i sums[2 * P];
  const uint8_t* fetched = add_taps<P>(pixels.codes, taps, sums, ahead);
  finish.template tile<P>(sums, pixels.outputs, channel);
  return fetched;
}

template <class F>
using Tile = const uint8_t* (*)(const ConvPixels&, const Taps&, const F&, int64_t, Ahead);
template <class F>
constexpr Tile<F> tiles[ConvTiles::tile_pixels] = {tile<1, F>, tile<2, F>, tile<3, F>,
                                                   tile<4, F>, tile<5, F>, tile<6, F>};

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
        ahead.from = tiles<F>[pixels.count - 1](pixels, taps_[v], finish_, channel_ + v * lanes, ahead);
    }

   private:
    int64_t vectors_, channel_;
    const F& finish_;
    Taps taps_[group_vectors];
  };
};

using Plan = ConvPlan<Avx2Kernel>;

}  // namespace

const char* convquant_avx2_unsupported(const ConvQuantShape& s) {
  return conv_plan_unsupported<Avx2Kernel>(s.conv);
}

std::size_t convquant_avx2_workspace(const ConvQuantShape& s) {
  return Plan(s.conv).workspace_bytes();
}

std::size_t convquant_avx2_packed(const ConvQuantShape& s) {
  const Plan plan(s.conv);
  return static_cast<std::size_t>(plan.weight_bytes() + plan.start_bytes() +
                                  RunTable<const int8_t>::bytes(plan));
}

void convquant_avx2_pack(const ConvQuantShape& s, const void* weights, void* packed, Stream) {
  const Plan plan(s.conv);
  auto* to = static_cast<int8_t*>(packed);
  std::memset(packed, 0, convquant_avx2_packed(s));
  pack_weights(plan, static_cast<const int8_t*>(weights), to);
  RunTable<int8_t> table(plan, to);
#pragma omp parallel for schedule(dynamic) if (macs(s.conv) > 100000)
  for (int64_t vector = 0; vector < plan.vectors; ++vector)
    choose_runs(plan, to, vector, plan.image ? 255 : s.x_qp, table);
}

void convquant_avx2(const ConvQuantShape& s, const ConvQuantArgs& a, Stream) {
  const Plan plan(s.conv);
  const uint8_t* x = read_codes(plan, a.x, a.workspace);
  with_finish<FinishAvx2>(s, a, [&](const auto& finish) { convolve(plan, x, a, finish); });
}

}  // namespace rtfq::kernels::cpu
