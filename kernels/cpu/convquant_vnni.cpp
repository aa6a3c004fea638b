// The fused convolution in AVX-512 VNNI. A tile is 6 output pixels by 64 output channels: 24 registers of 16
// sums each, to which every step adds the products of four input channels (a dword of each pixel, broadcast,
// times four vectors of weights): 24 vpdpbusd for 10 loads. The tile's sums are finished while they are in
// the first-level cache; nothing wider than what the shape stores goes to memory.
//
// Floor: macs / 64 vpdpbusd; a core that starts two each cycle does 128 multiply-adds a cycle. Bytes: x once
// for each group of 64 output channels, weights once for each chunk of pixels (both from the second-level
// cache where they fit), outputs once.
//
// Weights are packed as [group of up to 64 output channels][tap][step][16 channels at a time][16][4 input
// channels]. A u8 input takes one tap for each filter position, and pixels in the padding are rows of zeros.
// An s8 image of few channels is first copied with its padding, 128 added to every code to make it u8; there
// a tap is a whole row of the filter, since its bytes follow each other, and the sums start at -128 times the
// sum of the weights: exact, as all of it is in integers.
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "kernels/cpu/convquant.h"
#include "kernels/cpu/convquant_finish.h"

namespace rtfq::kernels::cpu {
namespace {

constexpr int64_t tile_pixels = 6;
constexpr int64_t most_image_channels = 4, most_taps = 49;

int64_t up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// How a shape is cut into steps of four products.
struct Plan {
  const Conv2dShape& s;
  bool image;                        ///< s8: filter rows as taps, on a padded copy
  int64_t taps, steps;               ///< steps of a tap
  int64_t vectors;                   ///< of 16 output channels
  int64_t p, q, pixels;              ///< of all images
  int64_t padded_row, padded_image;  ///< bytes of the copy

  explicit Plan(const Conv2dShape& shape)
      : s(shape),
        image(shape.x_type == RTFQ_S8),
        taps(image ? s.r : s.r * s.s),
        steps(image ? up(s.s * s.c, 4) / 4 : s.c / 4),
        vectors(up(s.k, lanes) / lanes),
        p(output_height(s)),
        q(output_width(s)),
        pixels(s.n * p * q),
        padded_row((s.w + 2 * s.pad) * s.c),
        padded_image((s.h + 2 * s.pad) * padded_row) {}

  int64_t groups() const { return up(s.k, group_channels) / group_channels; }
  int64_t weight_bytes() const { return taps * steps * vectors * lanes * 4; }
  /// Of output channel k, byte b of a tap's step: where it lies.
  int64_t place(int64_t k, int64_t tap, int64_t step, int64_t b) const {
    const int64_t group = k / group_channels,
                  in_group = std::min(group_vectors, vectors - group * group_vectors),
                  vector = k % group_channels / lanes;
    return group * taps * steps * group_channels * 4 +
           (((tap * steps + step) * in_group + vector) * lanes + k % lanes) * 4 + b;
  }
};

/// Bytes that will be read soon: a few each step, so that fetching them hides behind the products.
struct Ahead {
  const uint8_t* from;
  int64_t each_step;
};

/// Sums of P pixels by V vectors of output channels. rows[tap * P + pixel] is where a pixel's codes of a tap
/// begin.
template <int P, int V>
void tile(const uint8_t* const* rows, int64_t taps, int64_t steps, const int8_t* w, const int32_t* start,
          Ahead ahead, int32_t* sums) {
  __m512i acc[P][V];
#pragma GCC unroll 8
  for (int i = 0; i < P; ++i)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) acc[i][v] = _mm512_loadu_si512(start + v * lanes);
  for (int64_t tap = 0; tap < taps; ++tap, rows += P) {
    const uint8_t* x[P];
#pragma GCC unroll 8
    for (int i = 0; i < P; ++i) x[i] = rows[i];
    for (int64_t step = 0; step < 4 * steps; step += 4, w += V * 64) {
      __m512i weights[V];
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) weights[v] = _mm512_loadu_si512(w + v * 64);
      _mm_prefetch(ahead.from, _MM_HINT_T0);
      ahead.from += ahead.each_step;
#pragma GCC unroll 8
      for (int i = 0; i < P; ++i) {
        int32_t four;
        std::memcpy(&four, x[i] + step, 4);
        const __m512i codes = _mm512_set1_epi32(four);
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) acc[i][v] = _mm512_dpbusd_epi32(acc[i][v], codes, weights[v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < P; ++i)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) _mm512_store_si512(sums + (i * V + v) * lanes, acc[i][v]);
}

using Tile = void (*)(const uint8_t* const*, int64_t, int64_t, const int8_t*, const int32_t*, Ahead,
                      int32_t*);
constexpr Tile tiles[tile_pixels][group_vectors] = {
    {tile<1, 1>, tile<1, 2>, tile<1, 3>, tile<1, 4>}, {tile<2, 1>, tile<2, 2>, tile<2, 3>, tile<2, 4>},
    {tile<3, 1>, tile<3, 2>, tile<3, 3>, tile<3, 4>}, {tile<4, 1>, tile<4, 2>, tile<4, 3>, tile<4, 4>},
    {tile<5, 1>, tile<5, 2>, tile<5, 3>, tile<5, 4>}, {tile<6, 1>, tile<6, 2>, tile<6, 3>, tile<6, 4>}};

/// An output pixel.
struct Position {
  int64_t n, p, q;

  RTFQ_INLINE Position(const Plan& plan, int64_t pixel)
      : n(pixel / (plan.q * plan.p)), p(pixel / plan.q % plan.p), q(pixel % plan.q) {}
  RTFQ_INLINE void advance(const Plan& plan) {
    if (++q < plan.q) return;
    q = 0;
    if (++p == plan.p) p = 0, ++n;
  }
};

/// Where the codes of `count` pixels from `at` on begin, for every tap; `at` moves behind them.
void find_rows(const Plan& plan, const uint8_t* x, const uint8_t* zeros, Position& at, int64_t count,
               const uint8_t** rows) {
  const Conv2dShape& s = plan.s;
  for (int64_t i = 0; i < count; ++i, at.advance(plan)) {
    const int64_t top = at.p * s.stride, left = at.q * s.stride;
    const uint8_t** to = rows + i;
    if (plan.image) {
      const uint8_t* from = x + at.n * plan.padded_image + top * plan.padded_row + left * s.c;
      for (int64_t r = 0; r < s.r; ++r, to += count) *to = from + r * plan.padded_row;
      continue;
    }
    const int64_t h0 = top - s.pad, w0 = left - s.pad;
    const uint8_t* from = x + ((at.n * s.h + h0) * s.w + w0) * s.c;
    if (h0 >= 0 && w0 >= 0 && h0 + s.r <= s.h && w0 + s.s <= s.w) {
      for (int64_t r = 0; r < s.r; ++r, from += s.w * s.c)
        for (int64_t t = 0; t < s.s; ++t, to += count) *to = from + t * s.c;
      continue;
    }
    for (int64_t r = 0; r < s.r; ++r, from += s.w * s.c)
      for (int64_t t = 0; t < s.s; ++t, to += count) {
        const int64_t h = h0 + r, w = w0 + t;
        *to = h >= 0 && h < s.h && w >= 0 && w < s.w ? from + t * s.c : zeros;
      }
  }
}

/// The lowest row of what the tile at `next` reads; the others have been read before.
Ahead bytes_ahead(const Plan& plan, const uint8_t* x, const Position& next) {
  const Conv2dShape& s = plan.s;
  const int64_t line = plan.image ? plan.padded_row : s.w * s.c,
                height = plan.image ? plan.padded_image : s.h * line, pad = plan.image ? 0 : s.pad;
  const int64_t bytes = tile_pixels * s.stride * s.c;
  return {x + std::max<int64_t>(0, next.n * height + (next.p * s.stride - pad + s.r - 1) * line +
                                       (next.q * s.stride - pad) * s.c),
          (bytes + plan.taps * plan.steps - 1) / (plan.taps * plan.steps)};
}

/// The s8 image with its padding, 128 added to each code.
void copy_padded(const Plan& plan, const int8_t* x, uint8_t* to) {
  const Conv2dShape& s = plan.s;
  const int64_t height = s.h + 2 * s.pad, side = s.pad * s.c, row = s.w * s.c;
#pragma omp parallel for schedule(static) if (s.n * s.h * row > 100000)
  for (int64_t i = 0; i < s.n * height; ++i) {
    uint8_t* line = to + i * plan.padded_row;
    const int64_t h = i % height - s.pad;
    if (h < 0 || h >= s.h) {
      std::memset(line, 128, static_cast<std::size_t>(plan.padded_row));
      continue;
    }
    const int8_t* from = x + (i / height * s.h + h) * row;
    std::memset(line, 128, static_cast<std::size_t>(side));
    for (int64_t j = 0; j < row; ++j) line[side + j] = static_cast<uint8_t>(from[j] ^ -128);
    std::memset(line + side + row, 128, static_cast<std::size_t>(side));
  }
}

template <class F>
void convolve(const Plan& plan, const uint8_t* x, const uint8_t* zeros, const int8_t* packed,
              const F& finish) {
  const Conv2dShape& s = plan.s;
  const auto* starts = reinterpret_cast<const int32_t*>(packed + plan.weight_bytes());
  const int64_t all_tiles = up(plan.pixels, tile_pixels) / tile_pixels, groups = plan.groups();
  // A chunk's codes stay in the second-level cache while groups of output channels take turns; and there are
  // enough chunks that threads share the work evenly.
  constexpr int64_t chunk_bytes = 192 << 10, least_items = 16, serial_macs = 1 << 21;
  const int64_t pixel_bytes = s.stride * s.stride * s.c, wanted = up(least_items, groups) / groups;
  const int64_t chunk = std::clamp<int64_t>(chunk_bytes / (tile_pixels * pixel_bytes), 1,
                                            std::max<int64_t>(1, all_tiles / wanted));
  const int64_t chunks = up(all_tiles, chunk) / chunk;
#pragma omp parallel for schedule(static) if (macs(s) > serial_macs)
  for (int64_t item = 0; item < chunks * groups; ++item) {
    const int64_t group = item % groups, first = item / groups * chunk,
                  last = std::min(first + chunk, all_tiles);
    const int64_t vectors = std::min(group_vectors, plan.vectors - group * group_vectors);
    const int8_t* w = packed + group * plan.taps * plan.steps * group_channels * 4;
    const int32_t* start = starts + group * group_channels;
    const uint8_t* rows[most_taps * tile_pixels];
    alignas(64) int32_t sums[tile_pixels * group_channels];
    Position position(plan, first * tile_pixels);
    for (int64_t t = first; t < last; ++t) {
      const int64_t pixel = t * tile_pixels, count = std::min(tile_pixels, plan.pixels - pixel);
      finish.fetch(pixel, count, group * group_channels);
      find_rows(plan, x, zeros, position, count, rows);
      tiles[count - 1][vectors - 1](rows, plan.taps, plan.steps, w, start, bytes_ahead(plan, x, position),
                                    sums);
      finish(sums, pixel, count, group * group_channels, vectors);
    }
  }
}

}  // namespace

const char* convquant_vnni_unsupported(const ConvQuantShape& s) {
  const Conv2dShape& c = s.conv;
  if (c.r * c.s > most_taps) return "filters of more than 49 taps";
  if (c.x_type == RTFQ_S8) return c.c <= most_image_channels ? nullptr : "s8 codes of more than 4 channels";
  return c.c % 4 == 0 ? nullptr : "u8 codes of channels off the multiples of 4";
}

// The padded copy, and what the last steps read beyond it; or a row of zeros.
std::size_t convquant_vnni_workspace(const ConvQuantShape& s) {
  const Plan plan(s.conv);
  return static_cast<std::size_t>(up(plan.image ? s.conv.n * plan.padded_image + 4 : s.conv.c, 64));
}

std::size_t convquant_vnni_packed(const ConvQuantShape& s) {
  const Plan plan(s.conv);
  return static_cast<std::size_t>(plan.weight_bytes() + plan.vectors * lanes * 4);
}

void convquant_vnni_pack(const ConvQuantShape& shape, const void* weights, void* packed, Stream) {
  const Plan plan(shape.conv);
  const Conv2dShape& s = shape.conv;
  auto* to = static_cast<int8_t*>(packed);
  std::memset(packed, 0, convquant_vnni_packed(shape));
  auto* starts = reinterpret_cast<int32_t*>(to + plan.weight_bytes());
  for (int64_t k = 0; k < s.k; ++k)
    for (int64_t r = 0; r < s.r; ++r)
      for (int64_t t = 0; t < s.s; ++t) {
        const int8_t* from = static_cast<const int8_t*>(weights) + ((k * s.r + r) * s.s + t) * s.c_parent;
        const int64_t tap = plan.image ? r : r * s.s + t, before = plan.image ? t * s.c : 0;
        for (int64_t c = 0; c < s.c; ++c) {
          to[plan.place(k, tap, (before + c) / 4, (before + c) % 4)] = from[c];
          if (plan.image) starts[k] -= 128 * from[c];
        }
      }
}

void convquant_vnni(const ConvQuantShape& s, const ConvQuantArgs& a, Stream) {
  const Plan plan(s.conv);
  auto* workspace = static_cast<uint8_t*>(a.workspace);
  const auto* x = static_cast<const uint8_t*>(a.x);
  if (plan.image) {
    copy_padded(plan, static_cast<const int8_t*>(a.x), workspace);
    std::memset(workspace + s.conv.n * plan.padded_image, 0, 4);
    x = workspace;
  } else {
    std::memset(workspace, 0, static_cast<std::size_t>(s.conv.c));
  }
  const auto run = [&](const auto& finish) {
    convolve(plan, x, workspace, static_cast<const int8_t*>(a.packed), finish);
  };
  if (!s.quantized) return run(Finish<false, RTFQ_RESIDUAL_NONE, RTFQ_IDENTITY_NONE>(s, a));
  with_residual(s.residual, [&](auto residual) {
    with_identity(s.identity, [&](auto identity) { run(Finish<true, residual(), identity()>(s, a)); });
  });
}

}  // namespace rtfq::kernels::cpu
