// The GPU's implementations of convolution, best first. Those named after a tile are the ones before them
// with the tile fixed, to be measured and tested one by one.
#include "kernels/cuda/conv2d.h"
#include "kernels/cuda/conv2d_tf32.h"
#include "kernels/cuda/vendor/entries.h"

namespace rtfq::kernels {
namespace RTFQ_GPU {
namespace {

template <class Op, const char* (*reason)(const Op&, const Conv2dShape&)>
const char* unsupported(const Conv2dShape& s) {
  return reason(Op{}, s);
}

/// Whether a product of codes is large enough for wgmma to make up for packing its weights, which mma reads
/// in place: for 53 of the 58 distinct layers that docs/results/gpu-h200.json has of a ResNet-50 bank the
/// faster of the two is chosen, from which the limits were made.
bool pays_packing(const Conv2dShape& s) {
  return macs(s) >= (s.r > 1 ? 2'800'000'000 : 4'000'000'000) &&
         !conv2d_wgmma_unsupported(Conv2dForward{}, s);
}
const char* codes_unsupported(const Conv2dShape& s) {
  if (const char* reason = conv2d_mma_codes_unsupported(Conv2dForward{}, s)) return reason;
  return pays_packing(s) ? "leaves large products to wgmma: name a tile" : nullptr;
}

template <ConvTile tile>
constexpr Conv2dForward::Impl forward_codes(const char* name) {
  return {name,
          tile == ConvTile::by_cost ? codes_unsupported
                                    : unsupported<Conv2dForward, conv2d_mma_codes_unsupported>,
          conv2d_forward_mma_codes<tile>};
}
template <ConvTile tile>
constexpr Conv2dForward::Impl forward_bf16(const char* name) {
  return {name,
          unsupported<Conv2dForward, conv2d_mma_bf16_unsupported>,
          conv2d_forward_mma_bf16<tile>,
          nullptr,
          packed_bytes,
          pack_dense};
}
template <ConvTile tile>
constexpr Conv2dDgrad::Impl dgrad_bf16(const char* name) {
  return {name,
          unsupported<Conv2dDgrad, conv2d_mma_bf16_unsupported>,
          conv2d_dgrad_mma_bf16<tile>,
          nullptr,
          packed_bytes,
          pack_turned};
}
template <ConvTile tile>
constexpr Conv2dWgrad::Impl wgrad(const char* name) {
  return {name, unsupported<Conv2dWgrad, conv2d_wgrad_mma_unsupported>, conv2d_wgrad_mma<tile>,
          conv2d_wgrad_mma_bytes<tile>};
}

template <ConvTile tile>
constexpr Conv2dForward::Impl forward_tf32(const char* name) {
  return {name, unsupported<Conv2dForward, conv2d_tf32_unsupported>, conv2d_tf32<tile>};
}
template <ConvTile tile>
constexpr Conv2dDgrad::Impl dgrad_tf32(const char* name) {
  return {name,
          unsupported<Conv2dDgrad, conv2d_tf32_unsupported>,
          conv2d_tf32<tile>,
          nullptr,
          packed_f32_bytes,
          pack_turned_f32};
}
template <ConvTile tile>
constexpr Conv2dWgrad::Impl wgrad_tf32(const char* name) {
  return {name, unsupported<Conv2dWgrad, conv2d_tf32_unsupported>, conv2d_tf32<tile>,
          conv2d_wgrad_tf32_bytes<tile>};
}

// By cost they stand before mma, except forward on codes, where mma leaves them what is large: on an H200
// (2026-11-27) in bf16 they won 234 of 308 shapes forward, 252 in the data gradient and 217 in the weight
// gradient; with codes 257 forward, but 49 together with packing the weights. Only forms that a GPU has
// passed may stand there (docs/simt.md); tiles by name stand behind the plain kernels.
template <class Op, int tile>
constexpr typename Op::Impl wgmma_of(const char* name) {
  return {name,
          unsupported<Op, conv2d_wgmma_unsupported>,
          [](const Conv2dShape& s, const typename Op::Args& a, Stream stream) {
            conv2d_wgmma(tile, s, a, stream);
          },
          nullptr,
          [](const Conv2dShape& s) { return conv2d_wgmma_packed(Op{}, s); },
          [](const Conv2dShape& s, const void* weights, void* packed, Stream stream) {
            conv2d_wgmma_pack(Op{}, s, weights, packed, stream);
          }};
}

/// The weight gradient's tile where none is named. The kernel's own estimate was made from timings in bf16;
/// widening codes costs more, so that it chose wrong for most of them. For codes this is the fastest kernel
/// of 54 of the 58 distinct layers that docs/results/gpu-h200.json has of a ResNet-50 bank, `mma` among them.
int wgrad_tile(const Conv2dShape& s) {
  if (element_bytes(s.x_type) != 1) return 0;
  const int64_t tiles = (s.k + 63) / 64 * ((s.r * s.s * s.c + 127) / 128);
  const int64_t steps = (s.n * output_height(s) * output_width(s) + 63) / 64;
  // Blocks of half the rows, where they fill the GPU once and a piece would be short.
  return 2 * tiles > multiprocessors && tiles <= multiprocessors && steps <= 40 ? 1064128 : 1128128;
}

template <int tile>
constexpr Conv2dWgrad::Impl wgmma_wgrad(const char* name) {
  return {name,
          [](const Conv2dShape& s) {
            if (tile == 0 && element_bytes(s.x_type) == 1 && (s.k <= 64 || s.r * s.s * s.c <= 64))
              return "leaves codes with at most 64 channels, half of its tile, to mma: name a tile";
            return conv2d_wgmma_unsupported(Conv2dWgrad{}, s);
          },
          [](const Conv2dShape& s, const Conv2dWgradArgs& a, Stream stream) {
            conv2d_wgmma(tile ? tile : wgrad_tile(s), s, a, stream);
          },
          [](const Conv2dShape& s) { return conv2d_wgmma_workspace(tile ? tile : wgrad_tile(s), s); }};
}

}  // namespace
}  // namespace RTFQ_GPU

std::span<const Conv2dForward::Impl> Conv2dForward::RTFQ_GPU_LIST() {
  using namespace RTFQ_GPU;
  static constexpr Impl list[] = {
      forward_codes<ConvTile::by_cost>("mma_codes"),
      wgmma_of<Conv2dForward, 0>("wgmma"),
      forward_bf16<ConvTile::by_cost>("mma_bf16"),
      {"mma_codes_folded", unsupported<Conv2dForward, conv2d_mma_codes_folded_unsupported>,
       conv2d_mma_codes_folded, conv2d_folded_x_bytes, packed_folded_bytes, pack_folded},
      {"mma_bf16_folded", unsupported<Conv2dForward, conv2d_mma_bf16_folded_unsupported>,
       conv2d_mma_bf16_folded, conv2d_folded_x_bytes, packed_folded_bytes, pack_folded},
      forward_codes<ConvTile::large>("mma_codes_128x128"),
      forward_codes<ConvTile::wide>("mma_codes_128x64"),
      forward_codes<ConvTile::small>("mma_codes_64x64"),
      forward_bf16<ConvTile::large>("mma_bf16_128x128"),
      forward_bf16<ConvTile::wide>("mma_bf16_128x64"),
      forward_bf16<ConvTile::small>("mma_bf16_64x64"),
      forward_tf32<ConvTile::by_cost>("tf32"),
      {"tf32_folded", unsupported<Conv2dForward, conv2d_tf32_folded_unsupported>, conv2d_tf32_folded,
       conv2d_tf32_folded_x_bytes, packed_folded_f32_bytes, pack_folded_f32},
      forward_tf32<ConvTile::large>("tf32_128x128"),
      forward_tf32<ConvTile::wide>("tf32_128x64"),
      forward_tf32<ConvTile::small>("tf32_64x64"),
      {"f32", unsupported<Conv2dForward, conv2d_f32_unsupported>, conv2d_f32},
      {"naive", unsupported<Conv2dForward, conv2d_naive_unsupported>, conv2d_naive},
      wgmma_of<Conv2dForward, 64>("wgmma_128x64"),
      wgmma_of<Conv2dForward, 1064>("wgmma_128x64_deep"),
      wgmma_of<Conv2dForward, 96>("wgmma_128x96"),
      wgmma_of<Conv2dForward, 1096>("wgmma_128x96_deep"),
      wgmma_of<Conv2dForward, 128>("wgmma_128x128"),
      wgmma_of<Conv2dForward, 1128>("wgmma_128x128_deep"),
      wgmma_of<Conv2dForward, 192>("wgmma_128x192"),
      wgmma_of<Conv2dForward, 256>("wgmma_128x256"),
      RTFQ_VENDOR_ENTRIES(vendor::conv2d_by_blas<Conv2dForward>(), vendor::conv2d_by_cudnn<Conv2dForward>())};
  return list;
}
std::span<const Conv2dDgrad::Impl> Conv2dDgrad::RTFQ_GPU_LIST() {
  using namespace RTFQ_GPU;
  static constexpr Impl list[] = {
      wgmma_of<Conv2dDgrad, 0>("wgmma"),
      dgrad_bf16<ConvTile::by_cost>("mma_bf16"),
      dgrad_bf16<ConvTile::large>("mma_bf16_128x128"),
      dgrad_bf16<ConvTile::wide>("mma_bf16_128x64"),
      dgrad_bf16<ConvTile::small>("mma_bf16_64x64"),
      dgrad_tf32<ConvTile::by_cost>("tf32"),
      dgrad_tf32<ConvTile::large>("tf32_128x128"),
      dgrad_tf32<ConvTile::wide>("tf32_128x64"),
      dgrad_tf32<ConvTile::small>("tf32_64x64"),
      {"f32", unsupported<Conv2dDgrad, conv2d_f32_unsupported>, conv2d_f32},
      {"naive", unsupported<Conv2dDgrad, conv2d_naive_unsupported>, conv2d_naive},
      wgmma_of<Conv2dDgrad, 64>("wgmma_128x64"),
      wgmma_of<Conv2dDgrad, 1064>("wgmma_128x64_deep"),
      wgmma_of<Conv2dDgrad, 96>("wgmma_128x96"),
      wgmma_of<Conv2dDgrad, 1096>("wgmma_128x96_deep"),
      wgmma_of<Conv2dDgrad, 128>("wgmma_128x128"),
      wgmma_of<Conv2dDgrad, 1128>("wgmma_128x128_deep"),
      wgmma_of<Conv2dDgrad, 192>("wgmma_128x192"),
      wgmma_of<Conv2dDgrad, 256>("wgmma_128x256"),
      RTFQ_VENDOR_ENTRIES(vendor::conv2d_by_blas<Conv2dDgrad>(), vendor::conv2d_by_cudnn<Conv2dDgrad>())};
  return list;
}
std::span<const Conv2dWgrad::Impl> Conv2dWgrad::RTFQ_GPU_LIST() {
  using namespace RTFQ_GPU;
  static constexpr Impl list[] = {
      wgmma_wgrad<0>("wgmma"),
      wgrad<ConvTile::by_cost>("mma"),
      wgrad<ConvTile::large>("mma_128x128"),
      wgrad<ConvTile::wide>("mma_128x64"),
      wgrad<ConvTile::small>("mma_64x64"),
      wgrad_tf32<ConvTile::by_cost>("tf32"),
      wgrad_tf32<ConvTile::large>("tf32_128x128"),
      wgrad_tf32<ConvTile::wide>("tf32_128x64"),
      wgrad_tf32<ConvTile::small>("tf32_64x64"),
      {"f32", unsupported<Conv2dWgrad, conv2d_f32_unsupported>, conv2d_f32, conv2d_wgrad_f32_bytes},
      {"naive", unsupported<Conv2dWgrad, conv2d_naive_unsupported>, conv2d_naive},
      wgmma_wgrad<128256>("wgmma_128x256"),
      wgmma_wgrad<128128>("wgmma_128x128"),
      wgmma_wgrad<64128>("wgmma_64x128"),
      wgmma_wgrad<1128128>("wgmma_128x128_deep"),
      wgmma_wgrad<1064128>("wgmma_64x128_deep"),
      RTFQ_VENDOR_ENTRIES(vendor::conv2d_by_blas<Conv2dWgrad>(), vendor::conv2d_by_cudnn<Conv2dWgrad>())};
  return list;
}

}  // namespace rtfq::kernels
