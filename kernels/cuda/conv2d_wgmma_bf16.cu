// Convolution in bf16 by Hopper's warpgroup products, forward and data gradient (conv2d_wgmma.h). Sums are
// taken in f32, tap after tap, channels innermost; the data gradient of stride 2 multiplies by no structural
// zero.
//
// Floor: 2 bytes an element of x, y and the packed weights, 2 n p q k r s c operations. Limits: compute
// capability 9.0; input and output channels that are multiples of 8; filters of at most 8x8; data gradients
// of stride 1 and 2; operands of at most 2^30 elements. Shared memory: 85 KB to 201 KB a block, by tile. On
// an H200 (2026-11-27; batch 64, 3x3): 68 us for 480 channels at 7x7, where a shallow ring alone on its
// multiprocessor waited a microsecond a step, 33 us for 256 at 14x14; deep rings are not yet timed.
#include "kernels/cuda/conv2d_wgmma.h"

namespace rtfq::kernels::RTFQ_GPU::wgmma {

void launch_bf16(const ConvProduct& z, int tile, const void* x, const void* packed, void* y, Stream stream) {
  launch<simt::Product::bf16>(z, tile, x, packed, nullptr, RTFQ_BF16, y, stream);
}

}  // namespace rtfq::kernels::RTFQ_GPU::wgmma
