#pragma once
// How the fused convolution in AMX cuts a shape: which bytes a tile's rows are, how the work is shared, where
// weights lie.
//
// A tile holds 16 positions. Their codes of one filter row follow each other in memory, so they are loaded
// from where they are: from x itself, where nothing is padded and a filter row fills whole steps of 64 codes
// (`in place`), else from a copy of the lines that a thread needs, padded with zeros. Between two lines (and
// two images) padding is there once. Positions, one step of the filter apart:
//
//   pixels   1x1, stride 1, in place: 16 pixels after another, whatever image they are of
//   flat     other filters of stride 1: along lines, over the padding between them; what is computed there is
//            not an output and is left out
//   lines    stride above 1: as even parts of a line as 16 positions allow
//   patches  few channels: the copy holds, column by column of the output, the codes of a filter row for
//            every line; so all of a filter is one row of a tile, and positions follow each other downwards

#include <algorithm>
#include <cstring>

#include "kernels/cpu/amx.h"
#include "kernels/cpu/convquant_finish.h"

namespace rtfq::kernels::cpu {

/// Positions of a tile whose sums are outputs: row of the tile, and place among the output's pixels.
struct AmxPositions {
  int64_t count = 0;
  int64_t rows[2 * amx::rows], outputs[2 * amx::rows];

  RTFQ_INLINE void add(int64_t row, int64_t output) {
    rows[count] = row, outputs[count] = output;
    ++count;
  }
};

struct AmxPlan {
  enum class Mode { pixels, flat, lines, patches };
  static constexpr int64_t pair_vectors = 2, most_patch = 28;

  const Conv2dShape& s;
  int64_t p, q;  ///< output's height and width
  Mode mode;
  bool in_place;
  int64_t pad, line_pixels, image_lines;       ///< of x as it is read
  int64_t pixel_bytes, line_bytes, apart;      ///< apart: one position and the next
  int64_t taps, tap_bytes, taps_apart, steps;  ///< a tap: codes that follow each other; steps of 64 of them
  int64_t rows;                                ///< positions of a tile
  int64_t units;                               ///< what is shared: lines of the output, or tiles of pixels
  int64_t vectors, groups;                     ///< of 16 and of 64 output channels
  bool group_outer;  ///< a group of weights serves a whole chunk, else a pair of tiles all groups
  int64_t chunk;     ///< units that are read together

  RTFQ_INLINE explicit AmxPlan(const Conv2dShape& shape) : s(shape) {
    p = output_height(s), q = output_width(s);
    vectors = up(s.k, lanes) / lanes;
    groups = up(s.k, group_channels) / group_channels;
    const int64_t row_codes = s.s * s.c, pixels = s.n * p * q;
    const bool one = s.r == 1 && s.s == 1 && s.pad == 0;
    pixel_bytes = s.c;
    if (one && s.stride == 1 && s.c % amx::row_bytes == 0 && pixels >= amx::rows)
      mode = Mode::pixels;
    else if (s.r > 1 && up(row_codes, 4) <= most_patch)
      mode = Mode::patches, pixel_bytes = up(row_codes, 4);
    else
      mode = s.stride == 1 ? Mode::flat : Mode::lines;
    in_place = mode == Mode::pixels || (mode == Mode::lines && s.pad == 0 && row_codes % amx::row_bytes == 0);
    pad = in_place ? 0 : s.pad;
    // A filter that is all on padding has a place of its own.
    line_pixels = s.w + (pad < s.s ? pad : 2 * pad), image_lines = s.h + (pad < s.r ? pad : 2 * pad);
    line_bytes = mode == Mode::patches ? pixel_bytes : line_pixels * s.c;
    apart = s.stride * pixel_bytes;
    taps = mode == Mode::patches ? 1 : s.r;
    tap_bytes = mode == Mode::patches ? s.r * pixel_bytes : row_codes;
    taps_apart = line_bytes;
    steps = up(tap_bytes, amx::row_bytes) / amx::row_bytes;
    units = mode == Mode::pixels ? up(pixels, amx::rows) / amx::rows : s.n * p;
    rows = mode == Mode::lines  ? up(q, parts()) / parts()
           : mode == Mode::flat ? std::min(amx::rows, (line_of(units - 1) * line_pixels) + q)
                                : amx::rows;
    // Weights that stay in the second-level cache may be read for every pair of tiles.
    constexpr int64_t cached_weights = 1 << 20, cached_codes = 512 << 10, copied_codes = 256 << 10;
    group_outer = weight_bytes() > cached_weights;
    const int64_t most = group_outer ? cached_codes : copied_codes, unit_bytes = s.stride * line_bytes;
    chunk = in_place && !group_outer ? units
                                     : std::clamp<int64_t>(1 + (most - bytes_of(1)) / unit_bytes, 1, units);
    if (mode == Mode::patches) chunk = std::min({chunk, amx::rows, p});
  }

  /// Tiles of a line.
  RTFQ_INLINE int64_t parts() const { return up(q, amx::rows) / amx::rows; }
  RTFQ_INLINE int64_t all_steps() const { return taps * steps; }
  RTFQ_INLINE int64_t weight_bytes() const { return all_steps() * vectors * amx::tile_bytes; }
  RTFQ_INLINE int64_t vectors_of(int64_t group) const {
    return std::min(group_vectors, vectors - group * group_vectors);
  }
  /// The first line that an output line reads.
  RTFQ_INLINE int64_t line_of(int64_t unit) const { return unit / p * image_lines + unit % p * s.stride; }

  /// Lines that `count` units read, from the one on at which an image begins.
  RTFQ_INLINE int64_t lines_of(int64_t count) const { return line_of(count - 1) + s.r; }
  /// Patches of a column of the output, with room for the last store.
  RTFQ_INLINE int64_t column_bytes(int64_t line_count) const { return line_count * pixel_bytes + 32; }
  /// Of the codes that so many units read, at most.
  RTFQ_INLINE int64_t bytes_of(int64_t count) const {
    // A tile reads on beyond its last position and code.
    const int64_t beyond = amx::rows * apart + taps * amx::row_bytes;
    if (mode == Mode::pixels) return count * amx::rows * pixel_bytes;
    const int64_t line_count = up(count - 1, p) / p * std::max<int64_t>(0, image_lines - p * s.stride) +
                               (count - 1) * s.stride + s.r;
    if (mode == Mode::patches) return q * column_bytes(line_count) + beyond + (s.w + 2 * pad) * s.c + 64;
    return line_count * line_bytes + pad * s.c + beyond;
  }
  /// Of a thread's copy.
  RTFQ_INLINE int64_t copy_bytes() const { return in_place ? 0 : up(bytes_of(chunk), 64); }

  /// Tiles of units [begin, end).
  RTFQ_INLINE int64_t tiles(int64_t begin, int64_t end) const {
    switch (mode) {
      case Mode::pixels:
        return end - begin;
      case Mode::lines:
        return (end - begin) * parts();
      case Mode::patches:
        return q;
      default:
        return up((line_of(end - 1) - line_of(begin)) * line_pixels + q, amx::rows) / amx::rows;
    }
  }

  /// Tile `tile` of units [begin, end): where its first position's codes lie behind those of the chunk, and,
  /// added to `positions` from row `row` on, its outputs.
  RTFQ_INLINE int64_t tile_at(int64_t tile, int64_t begin, int64_t end, int64_t row,
                              AmxPositions& positions) const {
    if (mode == Mode::pixels) {
      const int64_t pixels = s.n * p * q, nominal = (begin + tile) * amx::rows,
                    first = std::min(nominal, pixels - amx::rows);
      for (int64_t i = nominal - first; i < amx::rows; ++i) positions.add(row + i, first + i);
      return (first - begin * amx::rows) * pixel_bytes;
    }
    if (mode == Mode::lines) {
      const int64_t line = begin + tile / parts(), nominal = tile % parts() * rows,
                    first = std::min(nominal, q - rows);
      for (int64_t i = nominal - first; i < rows; ++i) positions.add(row + i, line * q + first + i);
      return (line_of(line) - line_of(begin)) * line_bytes + first * apart;
    }
    if (mode == Mode::patches) {
      for (int64_t i = 0; i < end - begin; ++i) positions.add(row + i, (begin + i) * q + tile);
      return tile * column_bytes(lines_of_chunk(begin, end));
    }
    const int64_t first = tile * amx::rows, lines = line_of(end - 1) - line_of(begin);
    int64_t line = first / line_pixels, column = first % line_pixels;
    int64_t image = (line_of(begin) + line) / image_lines, h = (line_of(begin) + line) % image_lines;
    for (int64_t i = 0; i < rows && line <= lines; ++i) {
      if (column < q && h < p) positions.add(row + i, (image * p + h) * q + column);
      if (++column < line_pixels) continue;
      column = 0, ++line;
      if (++h == image_lines) h = 0, ++image;
    }
    return first * apart;
  }
  RTFQ_INLINE int64_t lines_of_chunk(int64_t begin, int64_t end) const {
    return line_of(end - 1) - line_of(begin) + s.r;
  }

  /// Where the codes of units [begin, end) begin, which may be in x or, copied, in `copy`.
  RTFQ_INLINE const uint8_t* codes(const uint8_t* x, int64_t begin, int64_t end, uint8_t* copy) const {
    if (mode == Mode::pixels) return x + begin * amx::rows * pixel_bytes;
    if (in_place) return x + line_of(begin) * line_bytes;
    const int64_t first = line_of(begin), count = lines_of_chunk(begin, end);
    if (mode == Mode::patches) {
      copy_patches(x, first, count, copy);
    } else {
      for (int64_t i = 0; i < count; ++i) copy_line(x, first + i, copy + i * line_bytes);
      std::memset(copy + count * line_bytes, 0, static_cast<std::size_t>(pad * s.c));
    }
    return copy;
  }

  /// How the threads share: so many parts of the units, and of the groups; their product is `threads`. What
  /// takes the least time, in cycles: products at their measured pace, codes and weights from beyond the
  /// second-level cache.
  struct Grid {
    int64_t units, groups;
  };
  RTFQ_INLINE Grid grid(int64_t threads) const {
    Grid best{threads, 1};
    int64_t least = cost(best);
    for (int64_t i = 2; i <= threads; ++i) {
      if (threads % i) continue;
      const Grid other{threads / i, i};
      if (const int64_t cycles = cost(other); cycles < least) best = other, least = cycles;
    }
    return best;
  }
  RTFQ_INLINE int64_t cost(Grid g) const {
    constexpr int64_t tile_cycles = 20, cycles_of_finish = 80;
    constexpr double bytes_of_memory = 7, bytes_of_others = 4;  // a cycle
    const int64_t some = up(units, g.units) / g.units, group_count = up(groups, g.groups) / g.groups;
    const int64_t computing = tiles(0, std::min(some, p)) * up(some, p) / p * group_count * group_vectors *
                              (all_steps() * tile_cycles + cycles_of_finish);
    // Where channels are shared out, a thread reads what others wrote, of x now and of the output later.
    const double codes = static_cast<double>(s.n * (s.h * s.w * s.c + p * q * s.k)),
                 of_others = codes * (1 - 1.0 / static_cast<double>(g.groups));
    return computing + static_cast<int64_t>(static_cast<double>(weight_bytes() / g.groups) / bytes_of_memory +
                                            of_others / bytes_of_others);
  }

  /// Where the weights of a pair begin.
  RTFQ_INLINE int64_t pair_at(int64_t group, int64_t pair) const {
    return (group * group_vectors + pair * pair_vectors) * all_steps() * amx::tile_bytes;
  }
  /// Of output channel k, code i of a tap: where it lies.
  RTFQ_INLINE int64_t place(int64_t k, int64_t tap, int64_t i) const {
    const int64_t vector = k / lanes, group = vector / group_vectors, in_group = vector % group_vectors,
                  pair = in_group / pair_vectors,
                  of_pair = std::min(pair_vectors, vectors_of(group) - pair * pair_vectors);
    return pair_at(group, pair) +
           ((tap * steps + i / 64) * of_pair + in_group % pair_vectors) * amx::tile_bytes + i % 64 / 4 * 64 +
           k % lanes * 4 + i % 4;
  }

 private:
  /// Line `line` of the padded codes: padding at its beginning, and what follows its end is the next one's.
  RTFQ_INLINE void copy_line(const uint8_t* x, int64_t line, uint8_t* to) const {
    const int64_t image = line / image_lines, h = line % image_lines - pad, row = s.w * s.c;
    if (h < 0 || h >= s.h || image >= s.n) {
      std::memset(to, 0, static_cast<std::size_t>(line_pixels * s.c));
      return;
    }
    const int64_t side = pad * s.c;
    std::memset(to, 0, static_cast<std::size_t>(side));
    std::memcpy(to + side, x + (image * s.h + h) * row, static_cast<std::size_t>(row));
    std::memset(to + side + row, 0, static_cast<std::size_t>(line_bytes - side - row));
  }

  /// [column of the output][line][codes of a filter row]; the padded line is made behind them.
  RTFQ_INLINE void copy_patches(const uint8_t* x, int64_t first, int64_t count, uint8_t* to) const {
    const int64_t column = column_bytes(count), side = pad * s.c, row = s.w * s.c;
    uint8_t* line = to + q * column + amx::rows * apart + amx::row_bytes;
    std::memset(line, 0, static_cast<std::size_t>(2 * side + row + 32));
    for (int64_t i = 0; i < count; ++i) {
      const int64_t image = (first + i) / image_lines, h = (first + i) % image_lines - pad;
      if (h < 0 || h >= s.h || image >= s.n)
        std::memset(line + side, 0, static_cast<std::size_t>(row));
      else
        std::memcpy(line + side, x + (image * s.h + h) * row, static_cast<std::size_t>(row));
      for (int64_t j = 0; j < q; ++j)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + j * column + i * pixel_bytes),
                            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(line + j * s.stride * s.c)));
    }
  }
};

}  // namespace rtfq::kernels::cpu
