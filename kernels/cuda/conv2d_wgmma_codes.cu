// Forward convolution of codes by Hopper's warpgroup products (conv2d_wgmma.h): u8 x s8 and s8 x s8, sums
// exact in s32, y = scale[k] * f32(sum).
//
// Floor: a byte an element of x and the packed weights, 2 or 4 of y; 2 n p q k r s c operations. Limits:
// compute capability 9.0; input channels that are multiples of 16, output channels of 8; filters of at most
// 8x8; operands of at most 2^30 elements. Shared memory: 85 KB to 201 KB a block, by tile. On an H200
// (2026-11-27; batch 64, 3x3): 37 us for 480 channels at 7x7, 22 us for 256 at 14x14; deep rings are not yet
// timed.
#include "kernels/cuda/conv2d_wgmma.h"

namespace rtfq::kernels::RTFQ_GPU::wgmma {

void launch_codes(const ConvProduct& z, int tile, rtfq_dtype x_type, const void* x, const void* packed,
                  const float* scale, rtfq_dtype y_type, void* y, Stream stream) {
  if (x_type == RTFQ_U8)
    launch<simt::Product::u8>(z, tile, x, packed, scale, y_type, y, stream);
  else
    launch<simt::Product::s8>(z, tile, x, packed, scale, y_type, y, stream);
}

}  // namespace rtfq::kernels::RTFQ_GPU::wgmma
