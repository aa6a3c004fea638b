#pragma once
// How the fused passes cut their work, and when they store past the caches: what does not depend on the
// instructions.

#include <initializer_list>

#include "kernels/cpu/channel_tiles.h"
#include "kernels/cpu/normquant.h"
#include "kernels/cpu/policy.h"

namespace rtfq::kernels::cpu {

/// Tiles of the passes without sums. Short rows are joined until what is done once a row does not show (c =
/// 64 on Zen 3: 8 % of forward's time with a quarter of that). Rows of more than a page stay whole where the
/// processor's prefetchers lose their way at a jump (c = 2048 in f32 on Granite Rapids: 0.8 of the time); on
/// Zen 5 a page at a time takes 0.75 of it.
template <class T>
RTFQ_INLINE ChannelTiles joined_tiles(int64_t channels) {
  return ChannelTiles(channels, made_by_intel() ? ChannelTiles::tile : 4096 / sizeof(T), 512);
}

/// Blocks of these passes.
RTFQ_INLINE RowBlocks normquant_blocks(const BatchNormShape& s, const ChannelTiles& tiles) {
  constexpr int64_t least_elements = 65536, least_wide_rows = 16;
  return {s, std::max(least_elements / tiles.lanes(), least_wide_rows) * tiles.fold};
}

/// Codes, and what goes to the identity path, that do not stay in the caches until they are read. Streamed
/// ones want whole runs at their natural alignment, two streams of codes whole lines.
RTFQ_INLINE bool streams_codes(const NormQuantShape& s, const void* codes, const void* identity) {
  const bool two = s.identity == RTFQ_IDENTITY_CODES;
  const auto aligned = [](const void* to, std::uintptr_t bytes) {
    return reinterpret_cast<std::uintptr_t>(to) % bytes == 0;
  };
  return elements(s.norm) >= 4 * streamed_elements && s.norm.c % (two ? 64 : 32) == 0 &&
         aligned(codes, two ? 64 : 32) && (s.identity == RTFQ_IDENTITY_NONE || aligned(identity, 64));
}

/// Streamed gradients want whole runs at their natural alignment, and no operand in their place, which is in
/// the caches.
RTFQ_INLINE bool streams_gradient(const NormQuantShape& s, const void* to,
                                  std::initializer_list<const void*> operands) {
  const int64_t of_row = s.norm.c * (s.norm.type == RTFQ_BF16 ? 2 : 4), bytes = s.norm.n * s.norm.hw * of_row;
  for (const void* operand : operands)
    if (to == operand) return false;
  return of_row % 64 == 0 && bytes >= 4 * streamed_elements && reinterpret_cast<std::uintptr_t>(to) % 64 == 0;
}

/// Where the blocks' sums lie in the workspace: doubles [sums][c] and the two step sizes' of each block.
struct ReducePartials {
  static constexpr int64_t rows_per_sum = 64;

  /// Where little is read beside x and a gradient, it pays that the arrays stay in the first cache, but on
  /// Intel's processors (as for joined_tiles); of several operands long rows are read better as a whole.
  RTFQ_INLINE explicit ReducePartials(const NormQuantShape& s)
      : tiles(s.norm.c, s.residual == RTFQ_RESIDUAL_NONE && !made_by_intel() ? ChannelTiles::tile / 2
                                                                             : ChannelTiles::tile),
        sums(s.residual == RTFQ_RESIDUAL_NORM ? 3 : 2),
        per_block(sums * s.norm.c + 2),
        blocks(s.norm, rows_of_sums(s.norm, tiles, rows_per_sum)) {}

  ChannelTiles tiles;
  int64_t sums, per_block;
  RowBlocks blocks;
};

/// Adds the blocks' partial sums and writes the results.
void normquant_combine(const NormQuantShape&, const NormQuantReduceArgs&);

}  // namespace rtfq::kernels::cpu
