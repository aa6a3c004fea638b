// Convolution of codes on tensor cores, from sm_80 on: u8 or s8 by s8, sums exact in s32, y = scale[k] *
// f32(sum) rounded once, or the sum. The weights are read in place, in the parent's strides;
// of few input channels they are packed, and the image is folded first.
//
// Blocks and tiles as in conv2d_mma.h. Floor: a byte an element of x and the weights, 2 or 4 of y, 2 n p q k
// r s c operations. Limits: input channels of the slice and of its parent that are multiples of 16 (or at
// most 4), output channels of 8; filters of at most 8x8; operands of at most 2^30 elements. Shared memory:
// 96, 72 or 48 KB. On an H200 (2026-11-27; batch 64, 3x3), with 4 stages: 44 us for 480 channels at 7x7, 31
// us for 256 at 14x14; 6 stages are not yet timed.
#include "kernels/cuda/conv2d.h"
#include "kernels/cuda/conv2d_mma.h"

namespace rtfq::kernels::RTFQ_GPU {

const char* conv2d_mma_codes_unsupported(const Conv2dForward& op, const Conv2dShape& s) {
  if (s.w_type != RTFQ_S8) return "takes codes with s8 weights";
  if (const char* reason = unsupported_types(op, s)) return reason;
  if (s.c_parent % 16) return "takes parents of input channels in multiples of 16";
  return product_unsupported(s, s.c, 1, s.k);
}

const char* conv2d_mma_codes_folded_unsupported(const Conv2dForward& op, const Conv2dShape& s) {
  if (s.w_type != RTFQ_S8) return "takes codes with s8 weights";
  if (const char* reason = unsupported_types(op, s)) return reason;
  return fold_unsupported(s, s.x_type);
}

template <ConvTile tile>
void conv2d_forward_mma_codes(const Conv2dShape& s, const Conv2dForwardArgs& a, Stream stream) {
  const ConvProduct z = forward_product(s, s.c_parent);
  if (s.x_type == RTFQ_U8)
    conv2d_mma<U8Product>(tile, z, a.x, a.packed, a.scale, s.y_type, a.y, stream);
  else
    conv2d_mma<S8Product>(tile, z, a.x, a.packed, a.scale, s.y_type, a.y, stream);
}

std::size_t conv2d_folded_x_bytes(const Conv2dShape& s) {
  return folded_bytes(s, s.x_type);
}
void conv2d_mma_codes_folded(const Conv2dShape& s, const Conv2dForwardArgs& a, Stream stream) {
  fold_image(s, s.x_type, a.x, a.workspace, stream);
  const ConvProduct z = folded_product(s, s.x_type);
  if (s.x_type == RTFQ_U8)
    conv2d_mma<U8Product>(ConvTile::by_cost, z, a.workspace, a.packed, a.scale, s.y_type, a.y, stream);
  else
    conv2d_mma<S8Product>(ConvTile::by_cost, z, a.workspace, a.packed, a.scale, s.y_type, a.y, stream);
}

template void conv2d_forward_mma_codes<ConvTile::by_cost>(const Conv2dShape&, const Conv2dForwardArgs&,
                                                          Stream);
template void conv2d_forward_mma_codes<ConvTile::large>(const Conv2dShape&, const Conv2dForwardArgs&, Stream);
template void conv2d_forward_mma_codes<ConvTile::wide>(const Conv2dShape&, const Conv2dForwardArgs&, Stream);
template void conv2d_forward_mma_codes<ConvTile::small>(const Conv2dShape&, const Conv2dForwardArgs&, Stream);

}  // namespace rtfq::kernels::RTFQ_GPU
