#pragma once
// How the fused convolution by steps of four products reads its codes and lays out its weights: what the
// kernels in VNNI and in AVX2 share (convquant_worker.h deals the work out).
//
// Weights are packed as [group of output channels][tap][step][16 channels at a time][16][4 input channels],
// or, for a kernel that takes the 16 channels at a time one after the other, with those before the taps. An
// s8 image of few channels is first copied with its padding, 128 added to every code to make it u8; there a
// tap is a whole row of the filter, since its bytes follow each other, and the sums start at -128 times the
// sum of the weights: exact, as all of it is in integers.
//
// Everything is a template over the kernel; one of instructions that not every processor has is a type of its
// file's own, so that the linker shares none of it with other files.

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/convquant.h"
#include "kernels/cpu/convquant_tiles.h"

namespace rtfq::kernels::cpu {

/// Channels of a vector of sums.
inline constexpr int64_t lanes = 16;
/// Of an s8 image, and taps of a filter's side.
inline constexpr int64_t most_image_channels = 4, most_filter = 7;

/// f(0), f(1) to f(n - 1) of constants, whatever the compiler thinks of unrolling: arrays that are indexed so
/// lie in registers.
template <int n, class F>
RTFQ_INLINE void each(const F& f) {
  [&]<int... i>(std::integer_sequence<int, i...>) RTFQ_INLINE_LAMBDA {
    (f(std::integral_constant<int, i>()), ...);
  }
  (std::make_integer_sequence<int, n>());
}

RTFQ_INLINE int64_t up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// How a shape is cut into steps of four products.
template <class Kernel>
struct ConvPlan {
  static constexpr int64_t group_vectors = Kernel::group_vectors, group_channels = lanes * group_vectors;

  const Conv2dShape& s;
  bool image;                      ///< s8: filter rows as taps, on a padded copy
  int64_t columns, taps;           ///< of the filter: taps of a row, and of all
  int64_t steps;                   ///< of a tap
  int64_t vectors;                 ///< of 16 output channels
  int64_t p, q;                    ///< output's height and width
  int64_t pad, line, image_bytes;  ///< of x as it is read: the copy, or the operand

  explicit ConvPlan(const Conv2dShape& shape)
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
  int64_t start_bytes() const { return vectors * lanes * 4; }
  int64_t group_bytes() const { return taps * steps * group_channels * 4; }
  /// Of output channel k, byte b of a tap's step: where it lies.
  int64_t place(int64_t k, int64_t tap, int64_t step, int64_t b) const {
    const int64_t group = k / group_channels, vector = k % group_channels / lanes, at = tap * steps + step,
                  block =
                      Kernel::vectors_apart ? vector * taps * steps + at : at * vectors_of(group) + vector;
    return group * group_bytes() + (block * lanes + k % lanes) * 4 + b;
  }
  /// The padded copy, and what the last steps read beyond it.
  std::size_t workspace_bytes() const {
    return static_cast<std::size_t>(image ? up(s.n * image_bytes + 4, 64) : 0);
  }
};

/// Pixels of a tile: where the codes of their first taps begin, and which of the output's they are.
struct ConvPixels {
  const uint8_t* codes[ConvTiles::tile_pixels];
  int64_t outputs[ConvTiles::tile_pixels];
  int64_t count = 0;
};

/// Goes through a region's tiles.
template <class Kernel>
class ConvWalk {
 public:
  ConvWalk(const ConvPlan<Kernel>& plan, const ConvTiles::Region& region, const uint8_t* x, int64_t tile)
      : plan_(plan),
        region_(region),
        x_(x),
        columns_(region.columns.outputs()),
        pixel_bytes_(plan.s.stride * plan.s.c),
        least_(region.pixels / region.tiles),
        more_(region.pixels % region.tiles),
        behind_(more_ * tile % region.tiles) {
    const int64_t rows = region.rows.outputs(), pixel = region.first_pixel(tile);
    column_ = pixel % columns_, row_ = pixel / columns_ % rows, image_ = pixel / (columns_ * rows);
    begin_row();
  }

  /// The next tile's pixels, first_pixel(tile + 1) - first_pixel(tile) of them. Most lie side by side.
  RTFQ_INLINE void next(ConvPixels& to) {
    behind_ += more_;
    const bool one_more = behind_ >= region_.tiles;
    behind_ -= one_more ? region_.tiles : 0;
    to.count = least_ + one_more;
    each<ConvTiles::tile_pixels>([&](auto i) RTFQ_INLINE_LAMBDA {
      to.codes[i] = codes_ + i * pixel_bytes_, to.outputs[i] = output_ + i;
    });
    int64_t done = std::min(to.count, columns_ - column_);
    codes_ += done * pixel_bytes_, output_ += done, column_ += done;
    while (column_ == columns_) {
      end_row();
      for (; done < to.count && column_ < columns_; ++done, ++column_) {
        to.codes[done] = codes_, to.outputs[done] = output_;
        codes_ += pixel_bytes_, ++output_;
      }
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

  const ConvPlan<Kernel>& plan_;
  const ConvTiles::Region& region_;
  const uint8_t* x_;
  int64_t columns_, pixel_bytes_;
  int64_t least_, more_, behind_;  ///< pixels of a tile, and the remainders that make it one more
  int64_t column_, row_, image_;
  const uint8_t* codes_;
  int64_t output_;
};

/// Why the shape cannot be cut so, or nullptr.
template <class Kernel>
const char* conv_plan_unsupported(const Conv2dShape& s) {
  if (s.r > most_filter || s.s > most_filter) return "filters of more than 7 by 7 taps";
  if (s.pad > ConvTiles::most_pad) return "padding of more than 3";
  if (s.x_type == RTFQ_S8) return s.c <= most_image_channels ? nullptr : "s8 codes of more than 4 channels";
  return s.c % 4 == 0 ? nullptr : "u8 codes of channels off the multiples of 4";
}

/// The weights, and behind them what each channel's sums start at. `to` holds zeros.
template <class Kernel>
void pack_weights(const ConvPlan<Kernel>& plan, const int8_t* weights, int8_t* to) {
  const Conv2dShape& s = plan.s;
  auto* starts = reinterpret_cast<int32_t*>(to + plan.weight_bytes());
#pragma omp parallel for schedule(static) if (plan.weight_bytes() > 100000)
  for (int64_t k = 0; k < s.k; ++k)
    for (int64_t r = 0; r < s.r; ++r)
      for (int64_t t = 0; t < s.s; ++t) {
        const int8_t* from = weights + ((k * s.r + r) * s.s + t) * s.c_parent;
        if (!plan.image) {
          int8_t* four = to + plan.place(k, r * s.s + t, 0, 0);
          const int64_t step = plan.place(k, 0, 1, 0) - plan.place(k, 0, 0, 0);
          for (int64_t c = 0; c < s.c; c += 4, four += step) std::memcpy(four, from + c, 4);
          continue;
        }
        for (int64_t c = 0; c < s.c; ++c) {
          const int64_t i = t * s.c + c;
          to[plan.place(k, r, i / 4, i % 4)] = from[c];
          starts[k] -= 128 * from[c];
        }
      }
}

/// x as the plan reads it: itself, or of an s8 image the copy with its padding in `workspace`, 128 added to
/// each code.
template <class Kernel>
const uint8_t* read_codes(const ConvPlan<Kernel>& plan, const void* x, void* workspace) {
  if (!plan.image) return static_cast<const uint8_t*>(x);
  const Conv2dShape& s = plan.s;
  const auto* image = static_cast<const int8_t*>(x);
  auto* to = static_cast<uint8_t*>(workspace);
  const int64_t height = s.h + 2 * s.pad, side = s.pad * s.c, row = s.w * s.c;
#pragma omp parallel for schedule(static) if (s.n * s.h * row > 100000)
  for (int64_t i = 0; i < s.n * height; ++i) {
    uint8_t* line = to + i * plan.line;
    const int64_t h = i % height - s.pad;
    if (h < 0 || h >= s.h) {
      std::memset(line, 128, static_cast<std::size_t>(plan.line));
      continue;
    }
    const int8_t* from = image + (i / height * s.h + h) * row;
    std::memset(line, 128, static_cast<std::size_t>(side));
    for (int64_t j = 0; j < row; ++j) line[side + j] = static_cast<uint8_t>(from[j] ^ -128);
    std::memset(line + side + row, 128, static_cast<std::size_t>(side));
  }
  std::memset(to + s.n * plan.image_bytes, 0, 4);
  return to;
}

}  // namespace rtfq::kernels::cpu
