// Convolution in bf16 on tensor cores, from sm_80 on: forward, data gradient, and forward over few input
// channels, whose image is folded first. Sums are taken in f32, tap after tap, channels innermost, whatever
// the tile; the data gradient of stride 2 multiplies by no structural zero.
//
// A block of 4 warps takes a tile of 128 x 128, 128 x 64 or 64 x 64 output pixels by channels, chosen so that
// the grid fills the multiprocessors (conv2d_mma.h). Floor: 2 bytes an element of x, y and the packed
// weights, 2 n p q k r s c operations. Limits: input channels that are multiples of 8 (at most 4 when
// folded), output channels that are; filters of at most 8x8; data gradients of stride 1 and 2; operands of at
// most 2^30 elements. Shared memory: 96, 72 or 48 KB. On an H200 (2026-11-27; batch 64, 3x3), with 4 stages:
// 74 us for 480 channels at 7x7, 51 us for 256 at 14x14; 6 stages are not yet timed.
#include "kernels/cuda/conv2d.h"
#include "kernels/cuda/conv2d_mma.h"

namespace rtfq::kernels::RTFQ_GPU {

const char* conv2d_mma_bf16_unsupported(const Conv2dForward&, const Conv2dShape& s) {
  if (s.x_type != RTFQ_BF16 || s.y_type != RTFQ_BF16) return "takes bf16 activations";
  return product_unsupported(s, s.c, 2, s.k);
}
const char* conv2d_mma_bf16_unsupported(const Conv2dDgrad&, const Conv2dShape& s) {
  if (s.x_type != RTFQ_BF16 || s.y_type != RTFQ_BF16) return "takes bf16 gradients";
  if (s.stride > 2) return "takes strides of 1 and 2";
  return product_unsupported(s, s.k, 2, s.c);
}
const char* conv2d_mma_bf16_folded_unsupported(const Conv2dForward&, const Conv2dShape& s) {
  if (s.x_type != RTFQ_BF16 || s.y_type != RTFQ_BF16) return "takes bf16 activations";
  return fold_unsupported(s, RTFQ_BF16);
}

template <ConvTile tile>
void conv2d_forward_mma_bf16(const Conv2dShape& s, const Conv2dForwardArgs& a, Stream stream) {
  conv2d_mma<Bf16Product>(tile, forward_product(s, s.c), a.x, a.packed, nullptr, RTFQ_BF16, a.y, stream);
}
template <ConvTile tile>
void conv2d_dgrad_mma_bf16(const Conv2dShape& s, const Conv2dDgradArgs& a, Stream stream) {
  conv2d_mma<Bf16Product>(tile, dgrad_product(s), a.g, a.packed, nullptr, RTFQ_BF16, a.dx, stream);
}

void conv2d_mma_bf16_folded(const Conv2dShape& s, const Conv2dForwardArgs& a, Stream stream) {
  fold_image(s, RTFQ_BF16, a.x, a.workspace, stream);
  conv2d_mma<Bf16Product>(ConvTile::by_cost, folded_product(s, RTFQ_BF16), a.workspace, a.packed, nullptr,
                          RTFQ_BF16, a.y, stream);
}

template void conv2d_forward_mma_bf16<ConvTile::by_cost>(const Conv2dShape&, const Conv2dForwardArgs&,
                                                         Stream);
template void conv2d_forward_mma_bf16<ConvTile::large>(const Conv2dShape&, const Conv2dForwardArgs&, Stream);
template void conv2d_forward_mma_bf16<ConvTile::wide>(const Conv2dShape&, const Conv2dForwardArgs&, Stream);
template void conv2d_forward_mma_bf16<ConvTile::small>(const Conv2dShape&, const Conv2dForwardArgs&, Stream);
template void conv2d_dgrad_mma_bf16<ConvTile::by_cost>(const Conv2dShape&, const Conv2dDgradArgs&, Stream);
template void conv2d_dgrad_mma_bf16<ConvTile::large>(const Conv2dShape&, const Conv2dDgradArgs&, Stream);
template void conv2d_dgrad_mma_bf16<ConvTile::wide>(const Conv2dShape&, const Conv2dDgradArgs&, Stream);
template void conv2d_dgrad_mma_bf16<ConvTile::small>(const Conv2dShape&, const Conv2dDgradArgs&, Stream);

}  // namespace rtfq::kernels::RTFQ_GPU
