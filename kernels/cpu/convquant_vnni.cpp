// The fused convolution in AVX-512 VNNI. A tile is up to 6 output pixels by 64 output channels: 24 registers
// of 16 sums each, to which every step adds the products of four input channels (a dword of each pixel,
// broadcast, times four vectors of weights): 24 vpdpbusd for 10 loads. Whole groups of 64 channels are
// finished in those registers; nothing wider than what the shape stores goes to memory. Padding is not
// multiplied (convquant_tiles.h).
//
// Floor: macs / 64 vpdpbusd, without those of the padding; a core that starts two each cycle does 128
// multiply-adds a cycle. Bytes: x once for each group of 64 output channels, weights once for each chunk of
// pixels (both from the second-level cache where they fit), outputs once. Figures:
// docs/results/cpu-inference.md.
//
// Weights are packed as [group of up to 64 output channels][tap][step][16 channels at a time][16][4 input
// channels]. An s8 image of few channels is first copied with its padding, 128 added to every code to make it
// u8; there a tap is a whole row of the filter, since its bytes follow each other, and the sums start at -128
// times the sum of the weights: exact, as all of it is in integers.
#include <omp.h>

#include <algorithm>
#include <cstring>

#include "kernels/cpu/convquant.h"
#include "kernels/cpu/convquant_products.h"

namespace rtfq::kernels::cpu {
namespace {

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

  int64_t vectors_of(int64_t group) const { return std::min(group_vectors, vectors - group * group_vectors); }
  int64_t groups() const { return up(s.k, group_channels) / group_channels; }
  int64_t weight_bytes() const { return taps * steps * vectors * lanes * 4; }
  int64_t group_bytes() const { return taps * steps * group_channels * 4; }
  /// Of output channel k, byte b of a tap's step: where it lies.
  int64_t place(int64_t k, int64_t tap, int64_t step, int64_t b) const {
    const int64_t group = k / group_channels, in_group = vectors_of(group),
                  vector = k % group_channels / lanes;
    return group * group_bytes() + (((tap * steps + step) * in_group + vector) * lanes + k % lanes) * 4 + b;
  }
};

/// Pixels of a tile: where the codes of their first taps begin, and which of the output's they are.
struct Pixels {
  const uint8_t* codes[ConvTiles::tile_pixels];
  int64_t outputs[ConvTiles::tile_pixels];
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

/// A thread's share of the work: as much of its cost as everybody has, in the order chunk, group, tile.
template <class F>
class Worker {
 public:
  Worker(const Plan& plan, const ConvTiles& tiles, const uint8_t* x, const ConvQuantArgs& a, const F& finish,
         int64_t me, int64_t threads)
      : threads_(threads),
        plan_(plan),
        tiles_(tiles),
        x_(x),
        packed_(static_cast<const int8_t*>(a.packed)),
        finish_(finish),
        next_bytes_(static_cast<int64_t>(a.next_bytes) / threads),
        next_(static_cast<const uint8_t*>(a.next_packed) + next_bytes_ * me),
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
    const int64_t vectors = plan_.vectors_of(group), tap_bytes = plan_.steps * vectors * 64,
                  channel = group * group_channels;
    const auto* start = reinterpret_cast<const int32_t*>(packed_ + plan_.weight_bytes()) + channel;
    const Taps taps{region.rows.taps(), region.columns.taps() * plan_.steps, plan_.line,
                    plan_.columns * tap_bytes};
    const int8_t* w = packed_ + group * plan_.group_bytes() +
                      (region.rows.first * plan_.columns + region.columns.first) * tap_bytes;
    const int64_t steps = taps.rows * taps.steps;
    const bool whole = channel + group_channels <= s.k;
    alignas(64) int32_t sums[ConvTiles::tile_pixels * group_channels];
    Walk walk(plan_, region, x_, first);
    Pixels pixels, next;
    walk.next(next);
    for (int64_t t = first; t < last; ++t) {
      pixels = next;
      if (t + 1 < last) walk.next(next);
      Ahead ahead = weights;
      if (weights.from) {
        weights.from += weights.each_step * steps;
      } else if (steps > 0) {  // the lowest row; the others have been read before
        ahead = {next.codes[0] + (taps.rows - 1) * taps.code_jump,
                 (next.count * s.stride * s.c + steps - 1) / steps};
      }
      finish_.fetch(next.outputs, next.count, channel);
      if (whole) {
        tiles<group_vectors, FinishGroup<F>>[pixels.count - 1](pixels.codes, taps, w, start, ahead,
                                                               {finish_, pixels.outputs, channel});
      } else {
        storing_tiles[vectors - 1][pixels.count - 1](pixels.codes, taps, w, start, ahead, {sums});
        finish_(sums, pixels.outputs, pixels.count, channel, vectors);
      }
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

ConvTiles tiles_of(const Plan& plan) {
  constexpr int64_t finish_steps = 8;  // what a tile's end takes
  const Conv2dShape& s = plan.s;
  TapSpan rows[ConvTiles::most_spans], columns[ConvTiles::most_spans];
  const int row_spans =
      plan.image ? whole_axis(plan.p, s.r, rows) : cut_axis(s.h, s.r, s.stride, s.pad, plan.p, rows);
  const int column_spans =
      plan.image ? whole_axis(plan.q, 1, columns) : cut_axis(s.w, s.s, s.stride, s.pad, plan.q, columns);
  return {s.n, rows, row_spans, columns, column_spans, plan.steps, finish_steps};
}

template <class F>
void convolve(const Plan& plan, const uint8_t* x, const ConvQuantArgs& a, const F& finish) {
  constexpr int64_t serial_macs = 1 << 19;
  const ConvTiles all = tiles_of(plan);
  if (macs(plan.s) <= serial_macs || omp_in_parallel()) return Worker<F>(plan, all, x, a, finish, 0, 1).run();
#pragma omp parallel
  Worker<F>(plan, all, x, a, finish, omp_get_thread_num(), omp_get_num_threads()).run();
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
  with_finish(s, a, [&](const auto& finish) { convolve(plan, x, a, finish); });
}

}  // namespace rtfq::kernels::cpu
