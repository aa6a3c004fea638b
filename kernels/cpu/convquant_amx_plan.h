#pragma once
// How the fused convolution in AMX cuts a shape: which bytes a tile's rows are, how the work is shared, where
// weights lie.
//
// A tile holds 16 positions, whose codes of one filter row follow each other in memory and are loaded from
// there:
//
//   pixels   1x1, stride 1, whole steps of 64 codes: x itself, one pixel after another, whatever image they
//            are of
//   flat     other filters: a copy of the lines that a thread needs, padded with zeros. Positions go on over
//            the padding between two lines and two images, which is there once; what is computed there is
//            not an output and is left out. Where the stride is 2, lines of even and of odd numbers lie
//            apart (phases), so that positions can go on from one output line to the next.
//   patches  few channels: the copy holds, column by column of the output, the codes of a filter row for
//            every line; so all of a filter is one row of a tile, and positions follow each other downwards

#include <algorithm>
#include <cstring>

#include "kernels/cpu/amx.h"
#include "kernels/cpu/convquant_finish.h"

namespace rtfq::kernels::cpu {

/// Positions of one or two tiles whose sums are outputs: row of the sums, and place among the output's
/// pixels.
struct AmxPositions {
  int64_t count = 0;
  int64_t rows[2 * amx::rows], outputs[2 * amx::rows];

  RTFQ_INLINE void add(int64_t row, int64_t output) {
    rows[count] = row, outputs[count] = output;
    ++count;
  }
};

struct AmxPlan {
  enum class Mode { pixels, flat, patches };
  static constexpr int64_t pair_vectors = 2, most_patch = 28;

  const Conv2dShape& s;
  int64_t p, q;  ///< output's height and width
  Mode mode;
  int64_t pixel_bytes, apart;  ///< of x as it is read; from one position to the next
  int64_t taps, steps;         ///< a tap: codes that follow each other; steps of 64 of them
  int64_t rows;                ///< positions of a tile
  int64_t units;               ///< what is shared: lines of the output, or tiles of pixels
  int64_t vectors, groups;     ///< of 16 and of 64 output channels
  bool group_outer;            ///< a group of weights serves a whole chunk, else a pair of tiles all groups
  int64_t chunk;               ///< units that are read together

  // Of flat copies: padding goes before each line and each image, and where a filter may lie wholly on it,
  // behind them too.
  int64_t line_pixels, line_bytes, line_positions;
  int64_t phases, image_lines;  ///< lines of an image in one phase

  RTFQ_INLINE explicit AmxPlan(const Conv2dShape& shape) : s(shape) {
    p = output_height(s), q = output_width(s);
    vectors = up(s.k, lanes) / lanes;
    groups = up(s.k, group_channels) / group_channels;
    const int64_t row_codes = s.s * s.c, pixels = s.n * p * q;
    if (s.r * s.s == 1 && s.pad == 0 && s.stride == 1 && s.c % amx::row_bytes == 0 && pixels >= amx::rows)
      mode = Mode::pixels;
    else
      mode = s.r > 1 && up(row_codes, 4) <= most_patch ? Mode::patches : Mode::flat;
    pixel_bytes = mode == Mode::patches ? up(row_codes, 4) : s.c;
    apart = s.stride * pixel_bytes;
    taps = mode == Mode::patches ? 1 : s.r;
    steps = up(mode == Mode::patches ? s.r * pixel_bytes : row_codes, amx::row_bytes) / amx::row_bytes;
    line_pixels = up(s.w + (s.pad < s.s ? s.pad : 2 * s.pad), s.stride);
    line_bytes = line_pixels * s.c;
    line_positions = line_pixels / s.stride;
    phases = std::min(s.stride, s.r);
    image_lines = up(s.h + (s.pad < s.r ? s.pad : 2 * s.pad), s.stride) / s.stride;
    units = mode == Mode::pixels ? up(pixels, amx::rows) / amx::rows : s.n * p;
    rows = mode == Mode::flat ? std::min(amx::rows, span(0, units)) : amx::rows;
    // Weights that stay in the second-level cache may be read for every pair of tiles.
    constexpr int64_t cached_weights = 1 << 20, cached_codes = 512 << 10, copied_codes = 256 << 10;
    group_outer = weight_bytes() > cached_weights;
    const int64_t most = group_outer ? cached_codes : copied_codes;
    const int64_t of_unit = mode == Mode::pixels ? amx::rows * pixel_bytes : phases * line_bytes;
    chunk = std::clamp<int64_t>(1 + (most - bytes_of(1)) / of_unit, 1, units);
    if (mode == Mode::pixels && !group_outer) chunk = units;
    if (mode == Mode::patches) chunk = std::min(amx::rows, p);
  }

  RTFQ_INLINE int64_t all_steps() const { return taps * steps; }
  RTFQ_INLINE int64_t weight_bytes() const { return all_steps() * vectors * amx::tile_bytes; }
  RTFQ_INLINE int64_t vectors_of(int64_t group) const {
    return std::min(group_vectors, vectors - group * group_vectors);
  }

  /// The line of a flat copy's first phase at which an output line begins.
  RTFQ_INLINE int64_t line_of(int64_t unit) const { return unit / p * image_lines + unit % p; }
  /// Positions from the first to the last output of units [begin, end), of a flat copy.
  RTFQ_INLINE int64_t span(int64_t begin, int64_t end) const {
    return (line_of(end - 1) - line_of(begin)) * line_positions + q;
  }
  /// Lines of one phase that units [begin, end) read.
  RTFQ_INLINE int64_t lines_of(int64_t begin, int64_t end) const {
    return line_of(end - 1) - line_of(begin) + (s.r - 1) / s.stride + 1;
  }
  /// Of the image that `count` output lines read.
  RTFQ_INLINE int64_t image_lines_of(int64_t count) const { return (count - 1) * s.stride + s.r; }
  /// Patches of a column of the output, with room for the last store.
  RTFQ_INLINE int64_t column_bytes(int64_t line_count) const { return line_count * pixel_bytes + 32; }

  /// Of the codes that so many units read, at most. A tile reads on beyond its last position and code.
  RTFQ_INLINE int64_t bytes_of(int64_t count) const {
    const int64_t beyond = amx::rows * apart + amx::row_bytes;
    if (mode == Mode::pixels) return count * amx::rows * pixel_bytes;
    if (mode == Mode::patches)
      return q * column_bytes(image_lines_of(count)) + beyond + (s.w + 2 * s.pad) * s.c + amx::row_bytes;
    const int64_t between_images = up(count - 1, p) / p * (image_lines - p),
                  line_count = between_images + count + (s.r - 1) / s.stride;
    return phases * line_count * line_bytes + s.pad * s.c + beyond;
  }
  /// How the threads share: so many parts of the units, and of the groups.
  struct Grid {
    int64_t units, groups;
  };
  /// Of a thread's copy.
  RTFQ_INLINE int64_t copy_bytes(Grid g) const {
    return mode == Mode::pixels ? 0 : up(bytes_of(std::min(chunk, up(units, g.units) / g.units)), 64);
  }
  /// Of the copies of as many threads as there may be.
  RTFQ_INLINE int64_t workspace_bytes(int64_t most_threads) const {
    int64_t most = 0;
    for (int64_t i = 1; i <= most_threads; ++i) most = std::max(most, i * copy_bytes(grid(i)));
    return most;
  }

  /// Tiles of units [begin, end).
  RTFQ_INLINE int64_t tiles(int64_t begin, int64_t end) const {
    switch (mode) {
      case Mode::pixels:
        return end - begin;
      case Mode::patches:
        return q;
      default:
        return up(span(begin, end), amx::rows) / amx::rows;
    }
  }

  /// Tile `tile` of units [begin, end): where its first position's codes lie behind those of the chunk, and,
  /// added to `positions` from row `row` on, its outputs.
  RTFQ_INLINE int64_t tile_at(int64_t tile, int64_t begin, int64_t end, int64_t row,
                              AmxPositions& positions) const {
    if (mode == Mode::pixels) {
      // The last tile takes some pixels of the one before it again, to be whole.
      const int64_t nominal = (begin + tile) * amx::rows, first = std::min(nominal, s.n * p * q - amx::rows);
      for (int64_t i = nominal - first; i < amx::rows; ++i) positions.add(row + i, first + i);
      return (first - begin * amx::rows) * pixel_bytes;
    }
    if (mode == Mode::patches) {
      for (int64_t i = 0; i < end - begin; ++i) positions.add(row + i, (begin + i) * q + tile);
      return tile * column_bytes(image_lines_of(end - begin));
    }
    const int64_t first = tile * amx::rows, before = line_of(begin), last = line_of(end - 1);
    int64_t line = before + first / line_positions, column = first % line_positions;
    int64_t image = line / image_lines, output_line = line % image_lines;
    for (int64_t i = 0; i < rows && line <= last; ++i) {
      if (column < q && output_line < p) positions.add(row + i, (image * p + output_line) * q + column);
      if (++column < line_positions) continue;
      column = 0, ++line;
      if (++output_line == image_lines) output_line = 0, ++image;
    }
    return first * apart;
  }

  /// Where the codes of units [begin, end) begin: in x, or in `copy`.
  RTFQ_INLINE const uint8_t* codes(const uint8_t* x, int64_t begin, int64_t end, uint8_t* copy) const {
    switch (mode) {
      case Mode::pixels:
        return x + begin * amx::rows * pixel_bytes;
      case Mode::patches:
        copy_patches(x, begin, end - begin, copy);
        return copy;
      default:
        copy_lines(x, begin, end, copy);
        return copy;
    }
  }
  /// The grid of so many threads that takes the least time.
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
  /// In cycles.
  RTFQ_INLINE int64_t cost(Grid g) const {
    // Measured on a Granite Rapids: products and ends at their pace, weights from beyond the second-level
    // cache, and what another core wrote.
    constexpr int64_t tile_cycles = 20, end_cycles = 80;
    constexpr double bytes_of_memory = 7, bytes_of_others = 4;  // a cycle
    const int64_t some = up(units, g.units) / g.units, group_count = up(groups, g.groups) / g.groups;
    const int64_t computing = tiles(0, std::min(some, p)) * up(some, p) / p * group_count * group_vectors *
                              (all_steps() * tile_cycles + end_cycles);
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
  /// Of output channel k, code i of filter row r: where it lies.
  RTFQ_INLINE int64_t place(int64_t k, int64_t r, int64_t i) const {
    const int64_t vector = k / lanes, group = vector / group_vectors, in_group = vector % group_vectors,
                  pair = in_group / pair_vectors,
                  of_pair = std::min(pair_vectors, vectors_of(group) - pair * pair_vectors);
    const int64_t tap = mode == Mode::patches ? 0 : r, code = mode == Mode::patches ? r * pixel_bytes + i : i;
    return pair_at(group, pair) +
           ((tap * steps + code / 64) * of_pair + in_group % pair_vectors) * amx::tile_bytes +
           code % 64 / 4 * 64 + k % lanes * 4 + code % 4;
  }

 private:
  RTFQ_INLINE static void copy_codes(const uint8_t* from, uint8_t* to, int64_t count) {
    int64_t i = 0;
    for (; i + 64 <= count; i += 64) _mm512_storeu_si512(to + i, _mm512_loadu_si512(from + i));
    const __mmask64 rest = (uint64_t{1} << (count - i)) - 1;
    _mm512_mask_storeu_epi8(to + i, rest, _mm512_maskz_loadu_epi8(rest, from + i));
  }
  RTFQ_INLINE static void zero_codes(uint8_t* to, int64_t count) {
    int64_t i = 0;
    for (; i + 64 <= count; i += 64) _mm512_storeu_si512(to + i, _mm512_setzero_si512());
    _mm512_mask_storeu_epi8(to + i, (uint64_t{1} << (count - i)) - 1, _mm512_setzero_si512());
  }

  /// [phase][line][padding, pixels, padding], and the padding of a line that would follow.
  RTFQ_INLINE void copy_lines(const uint8_t* x, int64_t begin, int64_t end, uint8_t* to) const {
    const int64_t first = line_of(begin), count = lines_of(begin, end), side = s.pad * s.c, row = s.w * s.c;
    for (int64_t phase = 0; phase < phases; ++phase)
      for (int64_t i = 0; i < count; ++i, to += line_bytes) {
        const int64_t image = (first + i) / image_lines,
                      h = (first + i) % image_lines * s.stride + phase - s.pad;
        if (h < 0 || h >= s.h || image >= s.n) {
          zero_codes(to, line_bytes);
          continue;
        }
        zero_codes(to, side);
        copy_codes(x + (image * s.h + h) * row, to + side, row);
        zero_codes(to + side + row, line_bytes - side - row);
      }
    zero_codes(to, side);
  }

  /// [column of the output][line][codes of a filter row]; the padded line is made behind them.
  RTFQ_INLINE void copy_patches(const uint8_t* x, int64_t begin, int64_t units_of_image, uint8_t* to) const {
    const int64_t count = image_lines_of(units_of_image), column = column_bytes(count), side = s.pad * s.c,
                  row = s.w * s.c, image = begin / p;
    uint8_t* line = to + q * column + amx::rows * apart + amx::row_bytes;
    zero_codes(line, 2 * side + row + 32);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t h = begin % p * s.stride + i - s.pad;
      if (h < 0 || h >= s.h)
        zero_codes(line + side, row);
      else
        copy_codes(x + (image * s.h + h) * row, line + side, row);
      for (int64_t j = 0; j < q; ++j)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + j * column + i * pixel_bytes),
                            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(line + j * s.stride * s.c)));
    }
  }
};

}  // namespace rtfq::kernels::cpu
