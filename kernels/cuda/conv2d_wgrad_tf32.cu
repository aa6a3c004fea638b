// The weight gradient of f32 in TF32 on tensor cores, from sm_80 on: operands are rounded on their way to
// registers, sums are f32, in an order that depends on the shape alone.
//
// Blocks, tiles and copies are those of conv2d_wgrad_mma.h; of several pieces of the pixels a second launch adds
// the sums (conv2d_wgrad_sum.cu). Floor: x and g once, 4 bytes a weight, 8 more for each of several pieces, 2 n
// p q k r s c operations at half of bf16's rate. Limits: output channels that are multiples of 8; input channels
// that are multiples of 4, those of fewer being folded first; filters of at most 8x8; operands of at most 2^30
// elements. Shared memory: 96, 72 or 48 KB. Not yet timed on a GPU.
#include "kernels/cuda/conv2d_tf32.h"
#include "kernels/cuda/conv2d_wgrad_mma.h"
#include "kernels/tf32.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

bool is_folded(const Conv2dShape& s) {
  return s.c < 4;
}

ConvProduct product_of(const Conv2dShape& s) {
  return is_folded(s) ? folded_product(s, RTFQ_F32) : forward_product(s, s.c);
}

WgradTile tile_of(ConvTile tile) {
  return wgrad_mma_tile<Tf32Terms>(tile, 4, 1e6);
}

ConvTile choose_tile(ConvTile wanted, const Conv2dShape& s) {
  return choose_wgrad_tile(wanted, product_of(s), is_folded(s), tile_of);
}

Wgrad wgrad_of(const Conv2dShape& s, ConvTile tile) {
  return cut_pixels(product_of(s), tile_of(tile), is_folded(s));
}

/// Where the partial sums begin in the workspace: behind the copy of the image.
std::size_t partial_at(const Conv2dShape& s) {
  return is_folded(s) ? (folded_bytes(s, RTFQ_F32) + 63) / 64 * 64 : 0;
}

}  // namespace

const char* conv2d_tf32_unsupported(const Conv2dWgrad&, const Conv2dShape& s) {
  if (s.x_type != RTFQ_F32 || s.y_type != RTFQ_F32) return "takes f32 operands";
  if (!tf32_allowed()) return "rounds operands to TF32, which is not allowed";
  return is_folded(s) ? fold_unsupported(s, RTFQ_F32) : product_unsupported(s, s.c, 4, s.k);
}

template <ConvTile wanted>
std::size_t conv2d_wgrad_tf32_bytes(const Conv2dShape& s) {
  return partial_at(s) + wgrad_of(s, choose_tile(wanted, s)).partial_bytes();
}

template <ConvTile wanted>
void conv2d_tf32(const Conv2dShape& s, const Conv2dWgradArgs& a, Stream stream) {
  require_aligned_wgrad(a);
  const ConvTile tile = choose_tile(wanted, s);
  const Wgrad w = wgrad_of(s, tile);
  const void* x = a.x;
  if (is_folded(s)) {
    fold_image(s, RTFQ_F32, x, a.workspace, stream);
    x = a.workspace;
  }
  auto* partial = reinterpret_cast<float*>(static_cast<unsigned char*>(a.workspace) + partial_at(s));
  const WgradTo to = wgrad_to(s, a, partial);
  launch_wgrad_mma<Tf32Terms, float>(tile, w, x, a.g, to, stream);
  if (w.direct) return;
  const ConvFold fold(s, RTFQ_F32);
  add_pieces(s, w, is_folded(s) ? &fold : nullptr, to, stream);
}

template std::size_t conv2d_wgrad_tf32_bytes<ConvTile::by_cost>(const Conv2dShape&);
template void conv2d_tf32<ConvTile::by_cost>(const Conv2dShape&, const Conv2dWgradArgs&, Stream);
template std::size_t conv2d_wgrad_tf32_bytes<ConvTile::large>(const Conv2dShape&);
template void conv2d_tf32<ConvTile::large>(const Conv2dShape&, const Conv2dWgradArgs&, Stream);
template std::size_t conv2d_wgrad_tf32_bytes<ConvTile::wide>(const Conv2dShape&);
template void conv2d_tf32<ConvTile::wide>(const Conv2dShape&, const Conv2dWgradArgs&, Stream);
template std::size_t conv2d_wgrad_tf32_bytes<ConvTile::small>(const Conv2dShape&);
template void conv2d_tf32<ConvTile::small>(const Conv2dShape&, const Conv2dWgradArgs&, Stream);

}  // namespace rtfq::kernels::RTFQ_GPU
