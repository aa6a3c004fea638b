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
#include <omp.h>

#include <algorithm>
#include <cstring>

#include "kernels/cpu/convquant.h"
#include "kernels/cpu/convquant_finish.h"
#include "kernels/cpu/convquant_tiles.h"

namespace rtfq::kernels::cpu {
namespace {

constexpr int64_t tile_pixels = ConvTiles::tile_pixels;
constexpr int64_t most_image_channels = 4, most_filter = 7;

int64_t up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// How a shape is cut into steps of four products.
struct Plan {
  const Conv2dShape& s;
  bool image;                      ///< s8: filter rows as taps, on a padded copy
  int64_t columns, taps;           ///< of the filter: taps of a row, and of all
  int64_t steps;                   ///< of a tap
  int64_t vectors;                 ///< of 16 output channels
  int64_t p, q;                    ///< output's height and width
  int64_t pad, line, image_bytes;  ///< of x as it is read: the copy, or the operand

  explicit Plan(const Conv2dShape& shape)
      : s(shape),
        image(shape.x_type == RTFQ_S8),
        columns(image ? 1 : s.s),
        taps(s.r * columns),
        steps(image ? up(s.s * s.c, 4) / 4 : s.c / 4),
        vectors(up(s.k, lanes) / lanes),
        p(output_height(s)),
        q(output_width(s)),
        pad(image ? 0 : s.pad),
        line((s.w + (image ? 2 * s.pad : 0)) * s.c),
        image_bytes((s.h + (image ? 2 * s.pad : 0)) * line) {}

  int64_t groups() const { return up(s.k, group_channels) / group_channels; }
  int64_t weight_bytes() const { return taps * steps * vectors * lanes * 4; }
  int64_t group_bytes() const { return taps * steps * group_channels * 4; }
  /// Of output channel k, byte b of a tap's step: where it lies.
  int64_t place(int64_t k, int64_t tap, int64_t step, int64_t b) const {
    const int64_t group = k / group_channels,
                  in_group = std::min(group_vectors, vectors - group * group_vectors),
                  vector = k % group_channels / lanes;
    return group * group_bytes() + (((tap * steps + step) * in_group + vector) * lanes + k % lanes) * 4 + b;
  }
};

/// Bytes that will be read soon: a few each step, so that fetching them hides behind the products.
struct Ahead {
  const uint8_t* from;
  int64_t each_step;
};

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

/// P pixels by V vectors of output channels: `after` gets their sums. codes[i]: where those of a pixel begin.
template <int P, int V, class After>
void tile(const uint8_t* const* codes, Taps taps, const int8_t* weights, const int32_t* start, Ahead ahead,
          After after) {
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
void pixel_tile(const uint8_t* const* codes, Taps taps, const int8_t* weights, const int32_t* start,
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
constexpr Tile<After> tiles[tile_pixels] = {pixel_tile<V, After>, tile<2, V, After>, tile<3, V, After>,
                                            tile<4, V, After>,    tile<5, V, After>, tile<6, V, After>};
constexpr const Tile<Store>* storing_tiles[group_vectors] = {tiles<1, Store>, tiles<2, Store>,
                                                             tiles<3, Store>, tiles<4, Store>};

/// Pixels of a tile: where the codes of their first taps begin, and which of the output's they are.
struct Pixels {
  const uint8_t* codes[tile_pixels];
  int64_t outputs[tile_pixels];
  int64_t count = 0;
};

/// Goes through a region's tiles.
class Walk {
 public:
  Walk(const Plan& plan, const ConvTiles::Region& region, const uint8_t* x, int64_t tile)
      : plan_(plan), region_(region), x_(x), tile_(tile) {
    const int64_t columns = region.columns.outputs(), rows = region.rows.outputs(),
                  pixel = region.first_pixel(tile);
    column_ = pixel % columns, row_ = pixel / columns % rows, image_ = pixel / (columns * rows);
    begin_row();
  }

  /// The next tile's pixels.
  RTFQ_INLINE void next(Pixels& to) {
    to.count = region_.first_pixel(tile_ + 1) - region_.first_pixel(tile_);
    ++tile_;
    for (int64_t i = 0; i < to.count; ++i) {
      to.codes[i] = codes_, to.outputs[i] = output_;
      codes_ += plan_.s.stride * plan_.s.c, ++output_;
      if (++column_ == region_.columns.outputs()) end_row();
    }
  }

 private:
  void begin_row() {
    const Conv2dShape& s = plan_.s;
    const int64_t p = region_.rows.begin + row_, q = region_.columns.begin + column_;
    output_ = (image_ * plan_.p + p) * plan_.q + q;
    codes_ = x_ + image_ * plan_.image_bytes + (p * s.stride - plan_.pad + region_.rows.first) * plan_.line +
             (q * s.stride - plan_.pad + region_.columns.first) * s.c;
  }
  void end_row() {
    column_ = 0;
    if (++row_ == region_.rows.outputs()) row_ = 0, ++image_;
    begin_row();
  }

  const Plan& plan_;
  const ConvTiles::Region& region_;
  const uint8_t* x_;
  int64_t tile_, column_, row_, image_;
  const uint8_t* codes_;
  int64_t output_;
};

/// The s8 image with its padding, 128 added to each code.
void copy_padded(const Plan& plan, const int8_t* x, uint8_t* to) {
  const Conv2dShape& s = plan.s;
  const int64_t height = s.h + 2 * s.pad, side = s.pad * s.c, row = s.w * s.c;
#pragma omp parallel for schedule(static) if (s.n * s.h * row > 100000)
  for (int64_t i = 0; i < s.n * height; ++i) {
    uint8_t* line = to + i * plan.line;
    const int64_t h = i % height - s.pad;
    if (h < 0 || h >= s.h) {
      std::memset(line, 128, static_cast<std::size_t>(plan.line));
      continue;
    }
    const int8_t* from = x + (i / height * s.h + h) * row;
    std::memset(line, 128, static_cast<std::size_t>(side));
    for (int64_t j = 0; j < row; ++j) line[side + j] = static_cast<uint8_t>(from[j] ^ -128);
    std::memset(line + side + row, 128, static_cast<std::size_t>(side));
  }
}

/// Work that a thread does at a time: tiles of a region, for one group of output channels.
struct Run {
  const ConvTiles::Region& region;
  int64_t first, last;  ///< tiles of the region
  int64_t group;
};

/// `weights`: what is fetched meanwhile, or nullptr: the codes of the tile that comes next.
template <class F>
void run_tiles(const Plan& plan, const uint8_t* x, const int8_t* packed, const F& finish, const Run& run,
               Ahead* weights_ahead) {
  const Conv2dShape& s = plan.s;
  const ConvTiles::Region& region = run.region;
  const int64_t vectors = std::min(group_vectors, plan.vectors - run.group * group_vectors),
                tap_bytes = plan.steps * vectors * 64, channel = run.group * group_channels;
  const auto* start = reinterpret_cast<const int32_t*>(packed + plan.weight_bytes()) + channel;
  Taps taps{region.rows.taps(), region.columns.taps() * plan.steps, plan.line, plan.columns * tap_bytes};
  if (taps.rows * taps.steps == 0) taps.rows = 0;
  const int8_t* weights = packed + run.group * plan.group_bytes() +
                          (region.rows.first * plan.columns + region.columns.first) * tap_bytes;
  const int64_t steps = taps.rows * taps.steps;
  const bool whole = channel + group_channels <= s.k;
  alignas(64) int32_t sums[tile_pixels * group_channels];
  Walk walk(plan, region, x, run.first);
  Pixels pixels, next;
  walk.next(next);
  for (int64_t t = run.first; t < run.last; ++t) {
    pixels = next;
    if (t + 1 < run.last) walk.next(next);
    // Of codes, the lowest row of what the tile reads; the others have been read before.
    Ahead ahead{next.codes[0] + (taps.rows - 1) * taps.code_jump,
                steps ? (next.count * s.stride * s.c + steps - 1) / steps : 0};
    if (weights_ahead) {
      ahead = *weights_ahead;
      weights_ahead->from += ahead.each_step * steps;
    }
    finish.fetch(next.outputs, next.count, channel);
    if (whole) {
      tiles<group_vectors, FinishGroup<F>>[pixels.count - 1](pixels.codes, taps, weights, start, ahead,
                                                             {finish, pixels.outputs, channel});
    } else {
      storing_tiles[vectors - 1][pixels.count - 1](pixels.codes, taps, weights, start, ahead, {sums});
      finish(sums, pixels.outputs, pixels.count, channel, vectors);
    }
  }
}

template <class F>
void convolve(const Plan& plan, const uint8_t* x, const ConvQuantArgs& a, const F& finish) {
  const auto* packed = static_cast<const int8_t*>(a.packed);
  const Conv2dShape& s = plan.s;
  TapSpan rows[ConvTiles::most_spans], columns[ConvTiles::most_spans];
  const int row_spans =
      plan.image ? whole_axis(plan.p, s.r, rows) : cut_axis(s.h, s.r, s.stride, s.pad, plan.p, rows);
  const int column_spans =
      plan.image ? whole_axis(plan.q, 1, columns) : cut_axis(s.w, s.s, s.stride, s.pad, plan.q, columns);
  constexpr int64_t finish_steps = 8;
  const ConvTiles all(s.n, rows, row_spans, columns, column_spans, plan.steps, finish_steps);
  // A chunk's codes stay in the second-level cache while groups of output channels take turns.
  constexpr int64_t chunk_bytes = 256 << 10, serial_macs = 1 << 19, most_coming = 256 << 10;
  const int64_t chunks = up(s.n * plan.image_bytes, chunk_bytes) / chunk_bytes;
#pragma omp parallel if (macs(s) > serial_macs)
  {
    // Everybody's share of the costs, in the order chunk, group, tile.
    const int64_t total = all.cost() * plan.vectors, threads = omp_get_num_threads(),
                  me = omp_get_thread_num();
    const int64_t from = total * me / threads, to = total * (me + 1) / threads;
    int64_t before = 0;
    for (int64_t chunk = 0; chunk < chunks && before < to; ++chunk) {
      const int64_t begin = all.cost_before(all.tiles() * chunk / chunks),
                    end = all.cost_before(all.tiles() * (chunk + 1) / chunks);
      for (int64_t group = 0; group < plan.groups(); ++group) {
        const int64_t vectors = std::min(group_vectors, plan.vectors - group * group_vectors),
                      behind = before + (end - begin) * vectors;
        if (behind > from && before < to) {
          const auto tile = [&](int64_t at) { return all.tile_at(begin + (at - before) / vectors); };
          const int64_t last = tile(std::min(to, behind));
          const int64_t steps = (std::min(to, behind) - std::max(from, before)) / (vectors * tile_pixels) + 1;
          const bool more = behind < to;
          const auto* coming =
              more ? reinterpret_cast<const uint8_t*>(packed) + (group + 1) * plan.group_bytes()
                   : static_cast<const uint8_t*>(a.next_packed) +
                         static_cast<int64_t>(a.next_bytes) * me / threads;
          const int64_t bytes =
              more ? plan.group_bytes()
                   : std::min<int64_t>(most_coming, static_cast<int64_t>(a.next_bytes) / threads);
          Ahead weights{coming, std::min<int64_t>(64, (bytes + steps - 1) / steps)};
          for (int64_t t = tile(std::max(from, before)); t < last;) {
            const ConvTiles::Region& region = all.region_of(t);
            const int64_t next = std::min(last, region.tiles_before + region.tiles);
            run_tiles(plan, x, packed, finish,
                      {region, t - region.tiles_before, next - region.tiles_before, group},
                      chunks == 1 || !more ? &weights : nullptr);
            t = next;
          }
        }
        before = behind;
      }
    }
  }
}

}  // namespace

const char* convquant_vnni_unsupported(const ConvQuantShape& s) {
  const Conv2dShape& c = s.conv;
  if (c.r > most_filter || c.s > most_filter) return "filters of more than 7 by 7 taps";
  if (c.pad > ConvTiles::most_pad) return "padding of more than 3";
  if (c.x_type == RTFQ_S8) return c.c <= most_image_channels ? nullptr : "s8 codes of more than 4 channels";
  return c.c % 4 == 0 ? nullptr : "u8 codes of channels off the multiples of 4";
}

// The padded copy, and what the last steps read beyond it.
std::size_t convquant_vnni_workspace(const ConvQuantShape& s) {
  const Plan plan(s.conv);
  return static_cast<std::size_t>(plan.image ? up(s.conv.n * plan.image_bytes + 4, 64) : 0);
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
    std::memset(workspace + s.conv.n * plan.image_bytes, 0, 4);
    x = workspace;
  }
  const auto run = [&](const auto& finish) { convolve(plan, x, a, finish); };
  if (!s.quantized) return run(Finish<false, RTFQ_RESIDUAL_NONE, RTFQ_IDENTITY_NONE>(s, a));
  with_residual(s.residual, [&](auto residual) {
    with_identity(s.identity, [&](auto identity) { run(Finish<true, residual(), identity()>(s, a)); });
  });
}

}  // namespace rtfq::kernels::cpu
