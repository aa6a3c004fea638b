// The fused convolution in AVX-VNNI: vpdpbusd on 256 bits, which processors have that lack AVX-512 (Intel's
// of laptops and desktops since 2021). A tile is up to 6 output pixels by 16 output channels: 12 registers of
// 8 sums each, to which every step adds the products of four input channels, 12 vpdpbusd for 8 loads. Sums
// stay in 32 bits, so that unlike in AVX2 (convquant_pairs.h) there are no runs. Packing, padding and threads
// are VNNI's (convquant_vnni.cpp), the end of a tile is AVX2's.
//
// Floor: macs / 32 vpdpbusd, without those of the padding; a core that starts two each cycle does 64
// multiply-adds. Figures: docs/results/cpu-inference.md.
#include "kernels/cpu/convquant.h"
#include "kernels/cpu/convquant_finish_avx2.h"
#include "kernels/cpu/convquant_worker.h"

namespace rtfq::kernels::cpu {
namespace {

/// sums[P][2], of a pixel and of 8 output channels each, += `steps` steps. codes[i]: a pixel's codes. Spelled
/// out: the rest of the file knows AVX2 alone, so that the linker may share what it shares with others.
template <int P>
void multiply(const uint8_t* const* codes, const int8_t* weights, int64_t steps, Ahead& ahead,
              __m256i (&sums)[P][2]);

// clang-format off
#define RTFQ_LOAD(pixel, a, b)                              \
  "vmovdqa " #pixel "*64(%[sums]), %%ymm" #a "\n\t"         \
  "vmovdqa " #pixel "*64+32(%[sums]), %%ymm" #b "\n\t"
#define RTFQ_STORE(pixel, a, b)                             \
  "vmovdqa %%ymm" #a ", " #pixel "*64(%[sums])\n\t"         \
  "vmovdqa %%ymm" #b ", " #pixel "*64+32(%[sums])\n\t"
#define RTFQ_ADD(pixel, a, b)                               \
  "vpbroadcastd (%[x" #pixel "],%[at]), %%ymm14\n\t"        \
  "%{vex%} vpdpbusd %%ymm12, %%ymm14, %%ymm" #a "\n\t"      \
  "%{vex%} vpdpbusd %%ymm13, %%ymm14, %%ymm" #b "\n\t"
#define RTFQ_CODES(pixel) [x##pixel] "r"(codes[pixel])
#define RTFQ_MULTIPLY(pixels, ALL, LIST)                                                      \
  template <>                                                                                 \
  RTFQ_INLINE void multiply(const uint8_t* const* codes, const int8_t* weights, int64_t steps, \
                            Ahead& ahead, __m256i (&sums)[pixels][2]) {                       \
    int64_t at = 0;                                                                           \
    asm volatile(                                                                             \
        ALL(RTFQ_LOAD)                                                                        \
        "1:\n\tvmovdqu (%[w]), %%ymm12\n\tvmovdqu 32(%[w]), %%ymm13\n\t"                      \
        "prefetcht0 (%[ahead])\n\tadd %[each], %[ahead]\n\t"                                  \
        ALL(RTFQ_ADD)                                                                         \
        "add $4, %[at]\n\tadd $64, %[w]\n\tdec %[steps]\n\tjnz 1b\n\t"                        \
        ALL(RTFQ_STORE)                                                                       \
        : [at] "+r"(at), [w] "+r"(weights), [ahead] "+r"(ahead.from), [steps] "+r"(steps)     \
        : LIST(RTFQ_CODES), [each] "rm"(ahead.each_step), [sums] "r"(sums)                    \
        : "ymm0", "ymm1", "ymm2", "ymm3", "ymm4", "ymm5", "ymm6", "ymm7", "ymm8", "ymm9",     \
          "ymm10", "ymm11", "ymm12", "ymm13", "ymm14", "cc", "memory");                       \
  }
#define RTFQ_ALL_1(f) f(0, 0, 1)
#define RTFQ_ALL_2(f) RTFQ_ALL_1(f) f(1, 2, 3)
#define RTFQ_ALL_3(f) RTFQ_ALL_2(f) f(2, 4, 5)
#define RTFQ_ALL_4(f) RTFQ_ALL_3(f) f(3, 6, 7)
#define RTFQ_ALL_5(f) RTFQ_ALL_4(f) f(4, 8, 9)
#define RTFQ_ALL_6(f) RTFQ_ALL_5(f) f(5, 10, 11)
#define RTFQ_LIST_1(f) f(0)
#define RTFQ_LIST_2(f) RTFQ_LIST_1(f), f(1)
#define RTFQ_LIST_3(f) RTFQ_LIST_2(f), f(2)
#define RTFQ_LIST_4(f) RTFQ_LIST_3(f), f(3)
#define RTFQ_LIST_5(f) RTFQ_LIST_4(f), f(4)
#define RTFQ_LIST_6(f) RTFQ_LIST_5(f), f(5)
RTFQ_MULTIPLY(1, RTFQ_ALL_1, RTFQ_LIST_1)
RTFQ_MULTIPLY(2, RTFQ_ALL_2, RTFQ_LIST_2)
RTFQ_MULTIPLY(3, RTFQ_ALL_3, RTFQ_LIST_3)
RTFQ_MULTIPLY(4, RTFQ_ALL_4, RTFQ_LIST_4)
RTFQ_MULTIPLY(5, RTFQ_ALL_5, RTFQ_LIST_5)
RTFQ_MULTIPLY(6, RTFQ_ALL_6, RTFQ_LIST_6)
// clang-format on

/// What the tiles of 16 output channels in a region have in common.
struct VectorTaps {
  int64_t rows, steps;           ///< filter rows that they see, and steps of one
  int64_t code_row, weight_row;  ///< bytes from one to the next
  const int8_t* weights;         ///< of the first tap
  const __m256i* start;          ///< what sums start at
};

template <int P, class F>
const uint8_t* vector_tile(const ConvPixels& pixels, const VectorTaps& taps, const F& finish, int64_t channel,
                           Ahead ahead) {
  alignas(32) __m256i sums[P][2];
  each<P>([&](auto i) RTFQ_INLINE_LAMBDA {
    each<2>([&](auto v) RTFQ_INLINE_LAMBDA { sums[i][v] = _mm256_loadu_si256(taps.start + v); });
  });
  const int8_t* weights = taps.weights;
  for (int64_t row = 0; taps.steps > 0 && row < taps.rows; ++row, weights += taps.weight_row) {
    const uint8_t* codes[P];
    each<P>([&](auto i) RTFQ_INLINE_LAMBDA { codes[i] = pixels.codes[i] + row * taps.code_row; });
    multiply<P>(codes, weights, taps.steps, ahead, sums);
  }
  finish.template tile<P>(sums[0], pixels.outputs, channel);
  return ahead.from;
}

template <class F>
using VectorTile = const uint8_t* (*)(const ConvPixels&, const VectorTaps&, const F&, int64_t, Ahead);
template <class F>
constexpr VectorTile<F> vector_tiles[ConvTiles::tile_pixels] = {vector_tile<1, F>, vector_tile<2, F>,
                                                                vector_tile<3, F>, vector_tile<4, F>,
                                                                vector_tile<5, F>, vector_tile<6, F>};

struct AvxVnni {
  static constexpr int64_t group_vectors = 4, finish_steps = 8;
  static constexpr bool vectors_apart = true;

  template <class F>
  class Tiles {
   public:
    Tiles(const ConvPlan<AvxVnni>& plan, const int8_t* packed, int64_t group, const ConvTiles::Region& region,
          const F& finish)
        : vectors_(plan.vectors_of(group)), channel_(group * group_vectors * lanes), finish_(finish) {
      const int64_t first = region.rows.first * plan.columns + region.columns.first;
      for (int64_t v = 0; v < vectors_; ++v) {
        const int64_t vector = group * group_vectors + v;
        taps_[v] = {.rows = region.rows.taps(),
                    .steps = region.columns.taps() * plan.steps,
                    .code_row = plan.line,
                    .weight_row = plan.columns * plan.steps * 64,
                    .weights = packed + plan.place(vector * lanes, first, 0, 0),
                    .start = reinterpret_cast<const __m256i*>(packed + plan.weight_bytes()) + 2 * vector};
      }
    }

    int64_t steps() const { return taps_[0].rows * taps_[0].steps; }

    RTFQ_INLINE void operator()(const ConvPixels& pixels, Ahead ahead) const {
      ahead.each_step = (ahead.each_step + vectors_ - 1) / vectors_;
      for (int64_t v = 0; v < vectors_; ++v)
        ahead.from =
            vector_tiles<F>[pixels.count - 1](pixels, taps_[v], finish_, channel_ + v * lanes, ahead);
    }

   private:
    int64_t vectors_, channel_;
    const F& finish_;
    VectorTaps taps_[group_vectors];
  };
};

using Plan = ConvPlan<AvxVnni>;

}  // namespace

const char* convquant_avxvnni_unsupported(const ConvQuantShape& s) {
  return conv_plan_unsupported<AvxVnni>(s.conv);
}

std::size_t convquant_avxvnni_workspace(const ConvQuantShape& s) {
  return Plan(s.conv).workspace_bytes();
}

std::size_t convquant_avxvnni_packed(const ConvQuantShape& s) {
  const Plan plan(s.conv);
  return static_cast<std::size_t>(plan.weight_bytes() + plan.start_bytes());
}

void convquant_avxvnni_pack(const ConvQuantShape& s, const void* weights, void* packed, Stream) {
  std::memset(packed, 0, convquant_avxvnni_packed(s));
  pack_weights(Plan(s.conv), static_cast<const int8_t*>(weights), static_cast<int8_t*>(packed));
}

void convquant_avxvnni(const ConvQuantShape& s, const ConvQuantArgs& a, Stream) {
  const Plan plan(s.conv);
  const uint8_t* x = read_codes(plan, a.x, a.workspace);
  with_finish<FinishAvx2>(s, a, [&](const auto& finish) {
    convolve(plan, x, {a.packed, a.next_packed, a.next_bytes}, finish);
  });
}

}  // namespace rtfq::kernels::cpu
