#pragma once
// How the fused convolution's output is cut into tiles, and the tiles shared among threads.
//
// Padding is never multiplied: the output is a grid of regions whose pixels see the same taps of the filter
// (a 3x3 filter of stride 1 has nine: corners, sides, middle). Pixels of a region, over all images, are dealt
// to tiles as evenly as whole pixels allow.

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/policy.h"

namespace rtfq::kernels::cpu {

/// Output rows (or columns) that see the same filter rows; those between are all in the picture.
struct TapSpan {
  int64_t begin, end;   ///< outputs
  int64_t first, last;  ///< filter rows, [first, last)

  RTFQ_INLINE int64_t outputs() const { return end - begin; }
  RTFQ_INLINE int64_t taps() const { return last - first; }
};

/// Cuts one axis. `to` has room for 2 pad + 1. Returns how many there are.
RTFQ_INLINE int cut_axis(int64_t input, int64_t filter, int64_t stride, int64_t pad, int64_t output,
                         TapSpan* to) {
  const int64_t room = input + pad - filter, whole = std::min((pad + stride - 1) / stride, output),
                behind = std::max(whole, room < 0 ? 0 : std::min(output, room / stride + 1));
  int count = 0;
  for (int64_t i = 0; i < output; ++i) {
    const int64_t at = i * stride - pad;
    if (i == whole && whole < behind) {
      to[count++] = {whole, behind, 0, filter};
      i = behind - 1;
    } else {
      const int64_t first = std::max<int64_t>(0, -at);
      to[count++] = {i, i + 1, first, std::max(first, std::min(filter, input - at))};
    }
  }
  return count;
}

/// All of an axis, where nothing is padding.
RTFQ_INLINE int whole_axis(int64_t output, int64_t filter, TapSpan* to) {
  *to = {0, output, 0, filter};
  return 1;
}

/// The regions, and the tiles of all of them in a row.
class ConvTiles {
 public:
  static constexpr int64_t tile_pixels = 6, most_pad = 3;
  static constexpr int most_spans = 2 * most_pad + 1;

  struct Region {
    TapSpan rows, columns;
    int64_t pixels, tiles;
    int64_t cost;  ///< of a pixel
    int64_t tiles_before, cost_before;

    /// The first pixel of a tile, of those of the region.
    RTFQ_INLINE int64_t first_pixel(int64_t tile) const { return pixels * tile / tiles; }
  };

  /// Of `images` pictures. A pixel costs `steps` for each of its taps, and `finish` beyond them.
  RTFQ_INLINE ConvTiles(int64_t images, const TapSpan* rows, int row_spans, const TapSpan* columns,
                        int column_spans, int64_t steps, int64_t finish) {
    for (int i = 0; i < row_spans; ++i)
      for (int j = 0; j < column_spans; ++j) {
        const int64_t pixels = images * rows[i].outputs() * columns[j].outputs();
        Region& r = regions_[count_++] = {rows[i],
                                          columns[j],
                                          pixels,
                                          (pixels + tile_pixels - 1) / tile_pixels,
                                          rows[i].taps() * columns[j].taps() * steps + finish,
                                          tiles_,
                                          cost_};
        tiles_ += r.tiles;
        cost_ += pixels * r.cost;
      }
  }

  RTFQ_INLINE int64_t tiles() const { return tiles_; }
  RTFQ_INLINE int64_t cost() const { return cost_; }
  /// Where a tile lies.
  RTFQ_INLINE const Region& region_of(int64_t tile) const {
    const Region* r = regions_;
    while (tile >= r->tiles_before + r->tiles) ++r;
    return *r;
  }
  RTFQ_INLINE int64_t cost_before(int64_t tile) const {
    if (tile >= tiles_) return cost_;
    const Region& r = region_of(tile);
    return r.cost_before + r.first_pixel(tile - r.tiles_before) * r.cost;
  }
  /// The first tile that begins at `cost` or behind it.
  RTFQ_INLINE int64_t tile_at(int64_t cost) const {
    if (cost >= cost_) return tiles_;
    const Region* r = regions_;
    while (cost >= r->cost_before + r->pixels * r->cost) ++r;
    const int64_t pixel = (cost - r->cost_before + r->cost - 1) / r->cost;
    return r->tiles_before + (pixel * r->tiles + r->pixels - 1) / r->pixels;
  }

 private:
  Region regions_[most_spans * most_spans];
  int count_ = 0;
  int64_t tiles_ = 0, cost_ = 0;
};

}  // namespace rtfq::kernels::cpu
