// The GPU's implementations of a convolution with statistics, best first. Those named after a tile are the
// ones before them with the tile fixed, to be measured and tested one by one.
#include <string_view>

#include "kernels/convstatistics_one_by_one.h"
#include "kernels/cuda/conv2d.h"
#include "kernels/cuda/conv2d_tf32.h"
#include "kernels/cuda/convstatistics.h"

namespace rtfq::kernels {
namespace RTFQ_GPU {
namespace {

/// The shapes that the plain list gives to wgmma, which was measured to be faster than mma there. Whether not
/// reading y again makes up for that no GPU has timed.
const char* left_to_wgmma(const Conv2dShape& s) {
  for (const auto& plain : Conv2dForward::RTFQ_GPU_LIST())
    if (!plain.unsupported(s))
      return std::string_view(plain.name).starts_with("wgmma") ? "leaves it to wgmma: name a tile" : nullptr;
  return nullptr;
}

template <const char* (*reason)(const Conv2dForward&, const Conv2dShape&), bool by_name>
const char* unsupported(const ConvStatisticsShape& s) {
  if (const char* own = reason(Conv2dForward{}, s.conv)) return own;
  return by_name ? nullptr : left_to_wgmma(s.conv);
}
std::size_t dense_bytes(const ConvStatisticsShape& s) {
  return packed_bytes(s.conv);
}
void pack_dense_weights(const ConvStatisticsShape& s, const void* weights, void* packed, Stream stream) {
  pack_dense(s.conv, weights, packed, stream);
}
std::size_t folded_weight_bytes(const ConvStatisticsShape& s) {
  return packed_folded_bytes(s.conv);
}
void fold_weights(const ConvStatisticsShape& s, const void* weights, void* packed, Stream stream) {
  pack_folded(s.conv, weights, packed, stream);
}
std::size_t folded_f32_weight_bytes(const ConvStatisticsShape& s) {
  return packed_folded_f32_bytes(s.conv);
}
void fold_f32_weights(const ConvStatisticsShape& s, const void* weights, void* packed, Stream stream) {
  pack_folded_f32(s.conv, weights, packed, stream);
}

template <ConvTile tile>
constexpr ConvStatisticsForward::Impl of_codes(const char* name) {
  return {name, unsupported<conv2d_mma_codes_unsupported, tile != ConvTile::by_cost>,
          convstatistics_mma_codes<tile>, tile_figures_bytes};
}
template <ConvTile tile>
constexpr ConvStatisticsForward::Impl of_tf32(const char* name) {
  return {name, unsupported<conv2d_tf32_unsupported, tile != ConvTile::by_cost>,
          convstatistics_mma_tf32<tile>, tile_figures_bytes};
}
template <ConvTile tile>
constexpr ConvStatisticsForward::Impl of_bf16(const char* name) {
  return {name,
          unsupported<conv2d_mma_bf16_unsupported, tile != ConvTile::by_cost>,
          convstatistics_mma_bf16<tile>,
          tile_figures_bytes,
          dense_bytes,
          pack_dense_weights};
}

}  // namespace
}  // namespace RTFQ_GPU

std::span<const ConvStatisticsForward::Impl> ConvStatisticsForward::RTFQ_GPU_LIST() {
  using namespace RTFQ_GPU;
  static constexpr Impl list[] = {
      of_codes<ConvTile::by_cost>("mma_codes"),
      of_bf16<ConvTile::by_cost>("mma_bf16"),
      {"mma_codes_folded", unsupported<conv2d_mma_codes_folded_unsupported, false>,
       convstatistics_mma_codes_folded, convstatistics_folded_bytes, folded_weight_bytes, fold_weights},
      {"mma_bf16_folded", unsupported<conv2d_mma_bf16_folded_unsupported, false>,
       convstatistics_mma_bf16_folded, convstatistics_folded_bytes, folded_weight_bytes, fold_weights},
      of_tf32<ConvTile::by_cost>("tf32"),
      {"tf32_folded", unsupported<conv2d_tf32_folded_unsupported, false>, convstatistics_mma_tf32_folded,
       convstatistics_folded_bytes, folded_f32_weight_bytes, fold_f32_weights},
      OneByOne<Backend::RTFQ_GPU_LIST>::implementation,
      of_codes<ConvTile::large>("mma_codes_128x128"),
      of_codes<ConvTile::wide>("mma_codes_128x64"),
      of_codes<ConvTile::small>("mma_codes_64x64"),
      of_bf16<ConvTile::large>("mma_bf16_128x128"),
      of_bf16<ConvTile::wide>("mma_bf16_128x64"),
      of_bf16<ConvTile::small>("mma_bf16_64x64"),
      of_tf32<ConvTile::large>("tf32_128x128"),
      of_tf32<ConvTile::wide>("tf32_128x64"),
      of_tf32<ConvTile::small>("tf32_64x64")};
  return list;
}

}  // namespace rtfq::kernels
