#pragma once
// How kernels with factors and sums per channel walk [n*hw, c] by runs of 32 lanes: narrow rows are joined to
// wide ones, long rows are cut into tiles, and each segment is cut into blocks of rows whose size depends on
// c alone.

#include <algorithm>
#include <numeric>
#include <type_traits>

#include "kernels/batchnorm.h"
#include "kernels/cpu/batchnorm_layout.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/policy.h"

namespace rtfq::kernels::cpu {

/// A wide row is `fold` rows, `lanes` = fold*c elements; lane l belongs to channel l % c. Lanes are a
/// multiple of 32 where that fits in a tile; elsewhere the last run of a row is a partial one.
struct ChannelTiles {
  static constexpr int64_t tile = 2048;  ///< lanes at most: arrays of this size lie on the stack
  static constexpr int64_t least = 128;  ///< lanes that what is done once a row does not weigh on
  /// Of such an array. A load waits for a store to the same place of another page: of several arrays, one
  /// behind the other, a lane lies in eight different parts of a page.
  static constexpr int64_t room = tile + 4096 / sizeof(float) / 8;

  /// `most`: lanes of a tile, at most those that there is room for. Fewer keep a pass with many arrays in the
  /// first cache; others read long rows better as a whole. `at_least`: lanes that short rows are joined to.
  RTFQ_INLINE explicit ChannelTiles(int64_t channels, int64_t most_lanes = tile, int64_t at_least = least)
      : c(channels), fold(1), most(most_lanes) {
    int64_t rows = 32 / std::gcd<int64_t>(32, c);
    rows *= (at_least - 1 + rows * c) / (rows * c);
    if (rows * c <= most) fold = rows;
  }
  RTFQ_INLINE int64_t lanes() const { return fold * c; }
  /// How far ahead of an element what is fetched meanwhile lies, in elements of T: where several wide rows
  /// are read side by side, or a row has several tiles, in the same lane of the rows after them.
  template <class T>
  RTFQ_INLINE int64_t ahead(int64_t rows = 1) const {
    const int64_t at_once = rows * lanes(), enough = prefetch_distance / static_cast<int64_t>(sizeof(T));
    return rows == 1 && lanes() <= most ? enough : (enough + at_once - 1) / at_once * at_once;
  }

  /// The tile that a thread's arrays are filled for.
  struct Filled {
    int segment = -1;
    int64_t channel = 0;
  };

  /// Calls begin(first channel, lanes) for each tile of a block, but for the one that was filled last, and
  /// stretch(offset, rows, lanes) for its rows, at most `most_rows` at a time and `lanes()` elements apart; a
  /// stretch of fewer lanes holds rows that do not fill a wide one.
  template <class Begin, class Stretch>
  RTFQ_INLINE void walk(const RowBlocks::Block& block, Filled& filled, int64_t most_rows, Begin&& begin,
                        Stretch&& stretch) const {
    const int64_t whole = block.rows / fold, rest = (block.rows - whole * fold) * c;
    for (int64_t t = 0; t < lanes(); t += most) {
      const int64_t width = std::min(most, lanes() - t);
      if (filled.segment != block.segment || filled.channel != t) begin(t, width);
      filled = {block.segment, t};
      // One place that calls: all of it is inlined there.
      for (int64_t i = 0, rows = 0; i < whole + (rest ? 1 : 0); i += rows) {
        rows = i < whole ? std::min(most_rows, whole - i) : 1;
        stretch(block.row * c + i * lanes() + t, rows, i < whole ? width : rest);
      }
    }
  }

  int64_t c, fold, most;
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

/// Lanes in whole runs.
RTFQ_INLINE int64_t whole_runs(int64_t lanes) {
  return (lanes + 31) / 32 * 32;
}

/// Repeats the first c lanes up to the end of the last run, and brings all into the order of T's runs.
template <class T>
RTFQ_INLINE void finish_lanes(float* lanes, int64_t c, int64_t width) {
  for (int64_t l = std::min(c, width); l < whole_runs(width); ++l) lanes[l] = l < c ? 0.0f : lanes[l - c];
  to_runs<T>(lanes, width);
}

/// Adds lanes, in the order of T's runs, to their channels' doubles; leaves them in the channels' order.
template <class T>
RTFQ_INLINE void add_lanes(float* lanes, int64_t count, int64_t c, double* channels) {
  from_runs<T>(lanes, count);
  for (int64_t l = 0; l < count; l += c)
    for (int64_t i = 0; i < std::min(c, count - l); ++i) channels[i] += static_cast<double>(lanes[l + i]);
}

/// What one norm needs of its channels, for a tile, in the order of the runs that it was filled for.
struct NormLanes {
  alignas(64) float mean[ChannelTiles::room];
  alignas(64) float factor[ChannelTiles::room];  ///< inverse deviation times scale
  alignas(64) float shift[ChannelTiles::room];

  template <class T>
  RTFQ_INLINE void fill(const BatchNormShape& s, const float* means, const float* variances,
                        const float* scales, const float* shifts, int segment, int64_t channel,
                        int64_t width) {
    const int64_t at = segment * s.c + channel, channels = std::min(width, s.c);
    for (int64_t l = 0; l < channels; ++l) {
      mean[l] = means[at + l];
      factor[l] = inverse_deviation(variances[at + l], s.epsilon) * scales[channel + l];
      shift[l] = shifts ? shifts[channel + l] : 0.0f;
    }
    for (float* lanes : {mean, factor, shift}) finish_lanes<T>(lanes, s.c, width);
  }
};

/// What the gradient needs besides: dx = factor * (g - mean_g - (x - mean)*slope).
struct GradientLanes {
  alignas(64) float mean_g[ChannelTiles::room];
  alignas(64) float slope[ChannelTiles::room];

  template <class T>
  RTFQ_INLINE void fill(const BatchNormShape& s, const float* variances, const float* sum_g,
                        const float* sum_gx, float count, int segment, int64_t channel, int64_t width) {
    const int64_t at = segment * s.c + channel, channels = std::min(width, s.c);
    for (int64_t l = 0; l < channels; ++l) {
      mean_g[l] = sum_g[at + l] / count;
      slope[l] = inverse_deviation(variances[at + l], s.epsilon) * (sum_gx[at + l] / count);
    }
    for (float* lanes : {mean_g, slope}) finish_lanes<T>(lanes, s.c, width);
  }
};

// Of as many elements as V holds, whose first one lies in `lane`.

/// x - mean
template <class V>
RTFQ_INLINE typename V::Floats centred(typename V::Floats x, const NormLanes& norm, int64_t lane) {
  return V::subtract(x, V::load(norm.mean + lane));
}

/// centred*factor + shift
template <class V>
RTFQ_INLINE typename V::Floats normalized(typename V::Floats centred, const NormLanes& norm, int64_t lane) {
  return V::multiply_add(centred, V::load(norm.factor + lane), V::load(norm.shift + lane));
}

/// factor * (g - mean_g - centred*slope)
template <class V>
RTFQ_INLINE typename V::Floats norm_gradient(typename V::Floats centred, typename V::Floats g,
                                             const NormLanes& norm, const float* mean_g, const float* slope,
                                             int64_t lane) {
  const auto from_mean = V::subtract(g, V::load(mean_g + lane));
  const auto projected = V::subtract_product(centred, V::load(slope + lane), from_mean);
  return V::multiply(V::load(norm.factor + lane), projected);
}

}  // namespace rtfq::kernels::cpu
