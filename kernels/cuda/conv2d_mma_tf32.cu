// Convolution of f32 in TF32 on tensor cores, from sm_80 on: forward, data gradient, and forward over few input
// channels, whose image is folded first. Operands are rounded between shared memory and the product, sums are
// f32, tap after tap, channels innermost, whatever the tile. Forward reads the weights in place, in the
// parent's strides; the data gradient's are turned first.
//
// Blocks and tiles as in conv2d_mma.h. Floor: 4 bytes an element of x, y and the weights, 2 n p q k r s c
// operations at half of bf16's rate. Limits: channels of the left operand and of the parent that are multiples
// of 4 (input channels at most 4 when folded), of the result multiples of 8; filters of at most 8x8; data
// gradients of stride 1 and 2; operands of at most 2^30 elements. Shared memory: 96, 72 or 48 KB. Not yet
// timed on a GPU.
#include "kernels/cuda/conv2d_mma.h"
#include "kernels/cuda/conv2d_tf32.h"

namespace rtfq::kernels::RTFQ_GPU {

const char* conv2d_tf32_unsupported(const Conv2dForward&, const Conv2dShape& s) {
  if (const char* reason = tf32_types_unsupported(s)) return reason;
  if (s.c_parent % 4) return "takes parents of input channels in multiples of 4";
  return product_unsupported(s, s.c, 4, s.k);
}
const char* conv2d_tf32_unsupported(const Conv2dDgrad&, const Conv2dShape& s) {
  if (const char* reason = tf32_types_unsupported(s)) return reason;
  if (s.stride > 2) return "takes strides of 1 and 2";
  return product_unsupported(s, s.k, 4, s.c);
}
const char* conv2d_tf32_folded_unsupported(const Conv2dForward&, const Conv2dShape& s) {
  if (const char* reason = tf32_types_unsupported(s)) return reason;
  return fold_unsupported(s, RTFQ_F32);
}

template <ConvTile tile>
void conv2d_tf32(const Conv2dShape& s, const Conv2dForwardArgs& a, Stream stream) {
  conv2d_mma<Tf32Product>(tile, forward_product(s, s.c_parent), a.x, a.packed, nullptr, RTFQ_F32, a.y, stream);
}
template <ConvTile tile>
void conv2d_tf32(const Conv2dShape& s, const Conv2dDgradArgs& a, Stream stream) {
  conv2d_mma<Tf32Product>(tile, dgrad_product(s), a.g, a.packed, nullptr, RTFQ_F32, a.dx, stream);
}

std::size_t conv2d_tf32_folded_x_bytes(const Conv2dShape& s) {
  return folded_bytes(s, RTFQ_F32);
}
void conv2d_tf32_folded(const Conv2dShape& s, const Conv2dForwardArgs& a, Stream stream) {
  fold_image(s, RTFQ_F32, a.x, a.workspace, stream);
  conv2d_mma<Tf32Product>(ConvTile::by_cost, folded_product(s, RTFQ_F32), a.workspace, a.packed, nullptr,
                          RTFQ_F32, a.y, stream);
}

template void conv2d_tf32<ConvTile::by_cost>(const Conv2dShape&, const Conv2dForwardArgs&, Stream);
template void conv2d_tf32<ConvTile::large>(const Conv2dShape&, const Conv2dForwardArgs&, Stream);
template void conv2d_tf32<ConvTile::wide>(const Conv2dShape&, const Conv2dForwardArgs&, Stream);
template void conv2d_tf32<ConvTile::small>(const Conv2dShape&, const Conv2dForwardArgs&, Stream);
template void conv2d_tf32<ConvTile::by_cost>(const Conv2dShape&, const Conv2dDgradArgs&, Stream);
template void conv2d_tf32<ConvTile::large>(const Conv2dShape&, const Conv2dDgradArgs&, Stream);
template void conv2d_tf32<ConvTile::wide>(const Conv2dShape&, const Conv2dDgradArgs&, Stream);
template void conv2d_tf32<ConvTile::small>(const Conv2dShape&, const Conv2dDgradArgs&, Stream);

}  // namespace rtfq::kernels::RTFQ_GPU
