#pragma once
// Convolution as a matrix product whose left operand is gathered while it is staged: rows are pixels of the
// output, columns its channels, and a sum runs over the filter's taps and their channels, innermost. Here is
// where operands lie and how a thread walks them, for every kernel of this kind: forward, the data gradient
// (a forward pass over g with turned weights; for stride t in t*t parts, the pixels of one remainder each, so
// that nothing is multiplied by the zeros between them) and inputs of few channels, folded (ConvFold).
//
// Offsets are elements in 32 bits; `product_unsupported` refuses what does not fit. A copy moves a chunk of
// 16 bytes of one tap, so that channels and pitches are multiples of it.

#include "kernels/conv2d.h"
#include "kernels/cuda/gpu.h"

namespace rtfq::kernels::RTFQ_GPU {

/// Output pixels that see the same taps: a grid of height x width places in every image.
struct ConvPart {
  int rows;  ///< n * height * width
  int height, width;
  int base_h, base_w;  ///< input pixel that place (0, 0) sees under tap (0, 0); its neighbour sees `step` on
  int taps_h, taps_w;
  int out_h, out_w;  ///< output pixel of place (0, 0); its neighbour is `out_step` on
  int weights;       ///< element where the part's filters begin: [columns][taps_h][taps_w][tap_pitch]
};

struct ConvProduct {
  static constexpr int most_parts = 4, most_taps = 8;
  ConvPart part[most_parts];
  int parts;
  int channels;                    ///< of a tap
  int columns;                     ///< output channels
  int tap_pitch;                   ///< elements from a tap of a filter to the next
  int in_h, in_w;                  ///< pixels outside are zero
  int in_image, in_row, in_pixel;  ///< pitches
  int step;
  int out_height, out_width, out_step;
  int n;
};

/// Why a shape is none for these kernels, or nullptr, where a tap has `channels` channels of `bytes` bytes
/// and there are `columns` of them.
const char* product_unsupported(const Conv2dShape&, int64_t channels, int64_t bytes, int64_t columns);

/// y from x: one part. Filters are [k][r][s][tap_pitch]: packed (c), or in place (c_parent).
ConvProduct forward_product(const Conv2dShape&, int64_t tap_pitch);
/// dx from g, weights as `pack_turned` lays them out; strides of 1 and 2.
ConvProduct dgrad_product(const Conv2dShape&);

/// A few channels folded into a tap of many: the image is copied once with its border, channels padded, and
/// a tap is then a row of the filter, whose `columns` pixels lie one after the other. `type` is the copy's:
/// bf16, which holds codes exactly, or that of codes.
struct ConvFold {
  int channels;  ///< of a pixel: 8 bytes of them, or 16 where the stride is odd, so that chunks stay aligned
  int columns;   ///< of a filter's row
  int height, width;  ///< of the copied image
  ConvFold(const Conv2dShape&, rtfq_dtype type);
};
std::size_t folded_bytes(const Conv2dShape&, rtfq_dtype type);
/// Why inputs of this shape are not folded, or nullptr.
const char* fold_unsupported(const Conv2dShape&, rtfq_dtype type);
/// y from the folded x, weights as `pack_folded` lays them out.
ConvProduct folded_product(const Conv2dShape&, rtfq_dtype type);

// Weights, f32 in the parent's strides, rounded to bf16 and laid out densely: [k][r][s][c]; for every part of
// the data gradient [c][taps_h][taps_w][k], taps in the order in which the part's input pixels ascend; folded
// (codes as they are) [k][r][columns][channels].
void pack_dense(const Conv2dShape&, const void* weights, void* packed, Stream);
void pack_turned(const Conv2dShape&, const void* weights, void* packed, Stream);
void pack_folded(const Conv2dShape&, const void* weights, void* packed, Stream);
std::size_t packed_bytes(const Conv2dShape&);  ///< of the first two
std::size_t packed_folded_bytes(const Conv2dShape&);
/// [n][height][width][channels] of x, bf16 or codes, as `type`.
void fold_image(const Conv2dShape&, rtfq_dtype type, const void* x, void* folded, Stream);

/// A row of the product, as the thread that stages it knows it.
struct ConvRow {
  int offset;     ///< of its input pixel under tap (0, 0)
  unsigned taps;  ///< bit r: row r of the taps meets the image; bit 16 + s: column s
};

__device__ __forceinline__ ConvRow conv_row(const ConvProduct& z, const ConvPart& part, int row) {
  if (row >= part.rows) return {0, 0};
  const int line = row / part.width, image = line / part.height;
  const int h = (line - image * part.height) * z.step + part.base_h;
  const int w = (row - line * part.width) * z.step + part.base_w;
  unsigned taps = 0;
  for (int r = 0; r < part.taps_h; ++r)
    if (static_cast<unsigned>(h + r) < static_cast<unsigned>(z.in_h)) taps |= 1u << r;
  for (int s = 0; s < part.taps_w; ++s)
    if (static_cast<unsigned>(w + s) < static_cast<unsigned>(z.in_w)) taps |= 0x10000u << s;
  return {image * z.in_image + h * z.in_row + w * z.in_pixel, taps};
}

/// A place in a sum: tap and channel.
struct ConvTap {
  int r, s, channel;

  /// `by` terms further; beyond the last tap r goes on, where no row has a bit.
  __device__ __forceinline__ void advance(const ConvProduct& z, const ConvPart& part, int by) {
    channel += by;
    while (channel >= z.channels) {
      channel -= z.channels;
      if (++s >= part.taps_w) {
        s = 0;
        ++r;
      }
    }
  }
  __device__ __forceinline__ int input(const ConvProduct& z) const {
    return r * z.in_row + s * z.in_pixel + channel;
  }
  __device__ __forceinline__ int weight(const ConvProduct& z, const ConvPart& part) const {
    return (r * part.taps_w + s) * z.tap_pitch + channel;
  }
  __device__ __forceinline__ bool meets(const ConvRow& row) const {
    return row.taps >> r & row.taps >> (16 + s) & 1u;
  }
};

/// The output pixel of a part's row.
__device__ __forceinline__ int output_pixel(const ConvProduct& z, const ConvPart& part, int row) {
  if (z.out_step == 1) return row;
  const int line = row / part.width, image = line / part.height;
  return (image * z.out_height + (line - image * part.height) * z.out_step + part.out_h) * z.out_width +
         (row - line * part.width) * z.out_step + part.out_w;
}

/// Multiprocessors that tiles are chosen for: an H100's or H200's. The tile changes no result.
constexpr int64_t multiprocessors = 132;

/// Rows x columns of a block: by cost, or 128 x 128, 128 x 64 or 64 x 64.
enum class ConvTile { by_cost, large, wide, small };

/// What a tile of that many rows and columns costs the busiest multiprocessor, relative to others, where a
/// full multiprocessor reaches `speed` of its rate with it.
inline double tile_cost(const ConvProduct& z, int rows, int columns, double speed) {
  int64_t blocks = 0;
  for (int i = 0; i < z.parts; ++i)
    blocks += (int64_t{z.part[i].rows} + rows - 1) / rows * ((z.columns + columns - 1) / columns);
  return static_cast<double>((blocks + multiprocessors - 1) / multiprocessors) * rows * columns / speed;
}

}  // namespace rtfq::kernels::RTFQ_GPU
