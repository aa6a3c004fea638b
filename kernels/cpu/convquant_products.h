#pragma once
// The sums of a tile of the fused convolution. Included by the file that names instructions
// (convquant_vnni.cpp); static, since the linker must not give its functions to others.

#include <immintrin.h>

#include <cstring>

#include "kernels/cpu/convquant_finish.h"
#include "kernels/cpu/convquant_worker.h"

namespace rtfq::kernels::cpu {

/// How the codes and the weights of a tile follow each other: `rows` times `steps` of four, the next row
/// `code_jump` and `weight_jump` bytes behind the last's beginning.
struct Taps {
  int64_t rows, steps, code_jump, weight_jump;
};

/// Four codes of a pixel in every lane.
RTFQ_INLINE __m512i four_codes(const uint8_t* from) {
  int32_t four;
  std::memcpy(&four, from, 4);
  return _mm512_set1_epi32(four);
}

/// P pixels by V vectors of output channels: `after` gets their sums, which begin with `start`. codes[i]:
/// where those of a pixel begin.
template <int P, int V, class After>
static void tile(const uint8_t* const* codes, Taps taps, const int8_t* weights, const int32_t* start,
                 Ahead ahead, After after) {
  __m512i acc[P][V];
  each<V>([&](auto v) RTFQ_INLINE_LAMBDA {
    each<P>([&](auto i) RTFQ_INLINE_LAMBDA { acc[i][v] = _mm512_loadu_si512(start + v * lanes); });
  });
  for (int64_t row = 0; row < taps.rows; ++row, weights += taps.weight_jump) {
    const uint8_t* x[P];
    each<P>([&](auto i) RTFQ_INLINE_LAMBDA { x[i] = codes[i] + row * taps.code_jump; });
    const int8_t* w = weights;
    for (int64_t step = 0; step < taps.steps; ++step, w += V * 64) {
      __m512i of_channels[V];
      each<V>([&](auto v) RTFQ_INLINE_LAMBDA { of_channels[v] = _mm512_loadu_si512(w + v * 64); });
      _mm_prefetch(ahead.from, _MM_HINT_T0);
      ahead.from += ahead.each_step;
      each<P>([&](auto i) RTFQ_INLINE_LAMBDA {
        const __m512i of_pixel = four_codes(x[i] + 4 * step);
        each<V>([&](auto v) RTFQ_INLINE_LAMBDA {
          acc[i][v] = _mm512_dpbusd_epi32(acc[i][v], of_pixel, of_channels[v]);
        });
      });
    }
  }
  after(acc);
}

/// The tile of one pixel. A sum can take part in a product every fourth cycle, and two products start in
/// each: so every channel has two sums, of even and of odd steps.
template <int V, class After>
static void pixel_tile(const uint8_t* const* codes, Taps taps, const int8_t* weights, const int32_t* start,
                       Ahead ahead, After after) {
  __m512i acc[1][V], odd[V];
  each<V>([&](auto v) RTFQ_INLINE_LAMBDA {
    acc[0][v] = _mm512_loadu_si512(start + v * lanes);
    odd[v] = _mm512_setzero_si512();
  });
  for (int64_t row = 0; row < taps.rows; ++row, weights += taps.weight_jump) {
    const uint8_t* x = codes[0] + row * taps.code_jump;
    const int8_t* w = weights;
    int64_t step = 0;
    for (; step + 1 < taps.steps; step += 2, w += 2 * V * 64) {
      _mm_prefetch(ahead.from, _MM_HINT_T0);
      _mm_prefetch(ahead.from + ahead.each_step, _MM_HINT_T0);
      ahead.from += 2 * ahead.each_step;
      const __m512i even_codes = four_codes(x + 4 * step), odd_codes = four_codes(x + 4 * step + 4);
      each<V>([&](auto v) RTFQ_INLINE_LAMBDA {
        acc[0][v] = _mm512_dpbusd_epi32(acc[0][v], even_codes, _mm512_loadu_si512(w + v * 64));
        odd[v] = _mm512_dpbusd_epi32(odd[v], odd_codes, _mm512_loadu_si512(w + (V + v) * 64));
      });
    }
    if (step < taps.steps)
      each<V>([&](auto v) RTFQ_INLINE_LAMBDA {
        acc[0][v] = _mm512_dpbusd_epi32(acc[0][v], four_codes(x + 4 * step), _mm512_loadu_si512(w + v * 64));
      });
  }
  each<V>([&](auto v) RTFQ_INLINE_LAMBDA { acc[0][v] = _mm512_add_epi32(acc[0][v], odd[v]); });
  after(acc);
}

/// Sums to memory, [P][V][16].
struct Store {
  int32_t* sums;

  template <int P, int V>
  RTFQ_INLINE void operator()(const __m512i (&acc)[P][V]) const {
    each<P>([&](auto i) RTFQ_INLINE_LAMBDA {
      each<V>([&](auto v) RTFQ_INLINE_LAMBDA { _mm512_store_si512(sums + (i * V + v) * lanes, acc[i][v]); });
    });
  }
};

/// Whole groups are finished in their registers.
template <class F>
struct FinishGroup {
  const F& finish;
  const int64_t* outputs;
  int64_t channel;

  template <int P>
  RTFQ_INLINE void operator()(const __m512i (&acc)[P][group_vectors]) const {
    finish.group(acc, outputs, channel);
  }
};

template <class After>
using Tile = void (*)(const uint8_t* const*, Taps, const int8_t*, const int32_t*, Ahead, After);
template <int V, class After>
static constexpr Tile<After> tiles[ConvTiles::tile_pixels] = {pixel_tile<V, After>, tile<2, V, After>,
                                                              tile<3, V, After>,    tile<4, V, After>,
                                                              tile<5, V, After>,    tile<6, V, After>};
static constexpr const Tile<Store>* storing_tiles[group_vectors] = {tiles<1, Store>, tiles<2, Store>,
                                                                    tiles<3, Store>, tiles<4, Store>};

}  // namespace rtfq::kernels::cpu
