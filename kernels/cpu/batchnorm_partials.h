#pragma once
// Sums of batch normalization that blocks of rows leave behind, and what becomes of them: what does not
// depend on the instructions.

#include "kernels/cpu/batchnorm.h"
#include "kernels/cpu/channel_tiles.h"

namespace rtfq::kernels::cpu {

/// Where the blocks' sums lie in the workspace: doubles [blocks][2][c].
struct BatchNormPartials {
  static constexpr int64_t rows_per_sum = 64;

  RTFQ_INLINE explicit BatchNormPartials(const BatchNormShape& s)
      : tiles(s.c), blocks(s, rows_of_sums(s, tiles, rows_per_sum)) {}
  RTFQ_INLINE int64_t doubles() const { return blocks.total() * 2 * tiles.c; }

  ChannelTiles tiles;
  RowBlocks blocks;
};

struct SumsWorkspace {
  double* partials;
  float* centres;  ///< [segments][c]: what is summed are differences from them
};
SumsWorkspace sums_workspace(const BatchNormShape&, void* workspace);

/// Centres as the type of x holds them: the difference from a bf16 value then loses nothing, where one from
/// an f32 would be rounded to the same side for all elements that are alike, and bf16 has few values. The
/// mean of up to 32 rows spread over each segment is close enough to the segment's to keep squares small.
void sample_means(const BatchNormShape&, const void* x, float* centres);
void round_means(const BatchNormShape&, const float* mean, float* centres);

/// Add the blocks' sums in their order and write the results.
void combine_statistics(const BatchNormShape&, const BatchNormStatisticsArgs&);
void combine_reduce(const BatchNormShape&, const BatchNormReduceArgs&);

}  // namespace rtfq::kernels::cpu
