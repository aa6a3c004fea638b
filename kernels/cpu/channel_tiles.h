#pragma once
// How kernels with factors and sums per channel walk [n*hw, c] by vectors of 16 lanes: narrow rows are joined
// to wide ones, long rows are cut into tiles, and each segment is cut into blocks of rows whose size depends
// on c alone.

#include <algorithm>
#include <numeric>
#include <type_traits>

#include "kernels/batchnorm.h"
#include "kernels/cpu/batchnorm_layout.h"
#include "kernels/cpu/policy.h"

namespace rtfq::kernels::cpu {

/// A wide row is `fold` rows, `lanes` = fold*c elements; lane l belongs to channel l % c. Lanes are a
/// multiple of 16 where that fits in a tile; elsewhere the last vector of a row is a partial one.
struct ChannelTiles {
  static constexpr int64_t tile = 2048;  ///< lanes at most: arrays of this size lie on the stack
  static constexpr int64_t least = 128;  ///< lanes that what is done once a row does not weigh on
  static constexpr int64_t room =
      tile + 16;  ///< of such an array: equal places of several do not share a set

  RTFQ_INLINE explicit ChannelTiles(int64_t channels) : c(channels), fold(1) {
    int64_t rows = 16 / std::gcd<int64_t>(16, c);
    rows *= (least - 1 + rows * c) / (rows * c);
    if (rows * c <= tile) fold = rows;
  }
  RTFQ_INLINE int64_t lanes() const { return fold * c; }
  RTFQ_INLINE int64_t step() const { return lanes() <= tile ? lanes() : tile / 2; }

  /// Calls begin(first channel, lanes) for each tile of a block and stretch(offset, rows, lanes) for its
  /// rows, at most `most_rows` at a time and `lanes()` elements apart; a stretch of fewer lanes holds rows
  /// that do not fill a wide one.
  template <class Begin, class Stretch>
  RTFQ_INLINE void walk(const RowBlocks::Block& block, int64_t most_rows, Begin&& begin,
                        Stretch&& stretch) const {
    const int64_t whole = block.rows / fold, rest = (block.rows - whole * fold) * c;
    for (int64_t t = 0; t < lanes(); t += step()) {
      const int64_t width = std::min(step(), lanes() - t);
      begin(t, width);
      // One place that calls: all of it is inlined there.
      for (int64_t i = 0; i < whole + (rest ? 1 : 0);) {
        const int64_t rows = i < whole ? std::min(most_rows, whole - i) : 1;
        stretch(block.row * c + i * lanes() + t, rows, i < whole ? width : rest);
        i += rows;
      }
    }
  }

  int64_t c, fold;
};

/// Rows of the blocks that passes with sums cut a tensor into, a multiple of `rows_per_sum` wide rows: no
/// fewer than 65536 elements, and where there are many such blocks up to four times as many, since each
/// leaves its sums behind, two or three doubles a channel, which would be a fifth of what is read of long
/// rows.
RTFQ_INLINE int64_t rows_of_sums(const BatchNormShape& s, const ChannelTiles& tiles, int64_t rows_per_sum) {
  constexpr int64_t least_elements = 65536, many = 64;
  const int64_t least = std::max<int64_t>(1, least_elements / (rows_per_sum * tiles.lanes())),
                enough = s.n * s.hw / (rows_per_sum * tiles.fold * many);
  return std::clamp<int64_t>(enough, least, 4 * least) * rows_per_sum * tiles.fold;
}

/// Calls f(lane, count, std::true_type) for each whole vector of a row, and with std::false_type for a
/// partial one.
template <class F>
RTFQ_INLINE void for_each_vector(int64_t lanes, F&& f) {
  int64_t l = 0;
  for (; l + 16 <= lanes; l += 16) f(l, int64_t{16}, std::true_type{});
  if (l < lanes) f(l, lanes - l, std::false_type{});
}

/// Fills the lanes beyond the first c of a wide row.
RTFQ_INLINE void repeat_channels(float* lanes, int64_t c, int64_t width) {
  for (int64_t l = c; l < width; ++l) lanes[l] = lanes[l - c];
}

/// Adds lanes to their channels' doubles.
RTFQ_INLINE void add_lanes(const float* lanes, int64_t count, int64_t c, double* channels) {
  for (int64_t l = 0; l < count; l += c)
    for (int64_t i = 0; i < std::min(c, count - l); ++i) channels[i] += static_cast<double>(lanes[l + i]);
}

/// What one norm needs of its channels, for a tile.
struct NormLanes {
  alignas(64) float mean[ChannelTiles::room];
  alignas(64) float factor[ChannelTiles::room];  ///< inverse deviation times scale
  alignas(64) float shift[ChannelTiles::room];

  RTFQ_INLINE void fill(const BatchNormShape& s, const float* means, const float* variances,
                        const float* scales, const float* shifts, int segment, int64_t channel,
                        int64_t width) {
    const int64_t at = segment * s.c + channel, channels = std::min(width, s.c);
    for (int64_t l = 0; l < channels; ++l) {
      mean[l] = means[at + l];
      factor[l] = inverse_deviation(variances[at + l], s.epsilon) * scales[channel + l];
      shift[l] = shifts ? shifts[channel + l] : 0.0f;
    }
    for (float* lanes : {mean, factor, shift}) repeat_channels(lanes, s.c, width);
  }
};

/// What the gradient needs besides: dx = factor * (g - mean_g - (x - mean)*slope).
struct GradientLanes {
  alignas(64) float mean_g[ChannelTiles::room];
  alignas(64) float slope[ChannelTiles::room];

  RTFQ_INLINE void fill(const BatchNormShape& s, const float* variances, const float* sum_g,
                        const float* sum_gx, float count, int segment, int64_t channel, int64_t width) {
    const int64_t at = segment * s.c + channel, channels = std::min(width, s.c);
    for (int64_t l = 0; l < channels; ++l) {
      mean_g[l] = sum_g[at + l] / count;
      slope[l] = inverse_deviation(variances[at + l], s.epsilon) * (sum_gx[at + l] / count);
    }
    for (float* lanes : {mean_g, slope}) repeat_channels(lanes, s.c, width);
  }
};

/// factor * (g - mean_g - centred*slope)
template <class V>
RTFQ_INLINE typename V::Floats norm_gradient(typename V::Floats centred, typename V::Floats g,
                                             const NormLanes& norm, const float* mean_g, const float* slope,
                                             int64_t lane) {
  const auto projected =
      V::subtract_product(centred, V::load(slope + lane), V::subtract(g, V::load(mean_g + lane)));
  return V::multiply(V::load(norm.factor + lane), projected);
}

}  // namespace rtfq::kernels::cpu
