// Convolution of f32 in TF32 on tensor cores, from sm_80 on, with the batch statistics of its result: y is not
// read again.
//
// Blocks, tiles and copies are those of conv2d_mma_tf32.cu, whose kernel this is with another end: a thread
// keeps the values that it stores, and the block sums them by channel, first for the mean, then about it
// (convstatistics.h). Floor: 4 bytes an element of x, y and the weights, 12 a channel and tile of 64 or 128
// rows; 2 n p q k r s c operations on tensor cores at half of bf16's rate, 4 on floats an output. Limits: those
// of conv2d_mma_tf32.cu. Shared memory: 2 or 3 KB more than there. Not yet timed on a GPU.
#include "kernels/cuda/convstatistics.h"

namespace rtfq::kernels::RTFQ_GPU {

template <ConvTile tile>
void convstatistics_mma_tf32(const ConvStatisticsShape& s, const ConvStatisticsArgs& a, Stream stream) {
  conv2d_mma_with_statistics<Tf32Product>(tile, forward_product(s.conv, s.conv.c_parent), a.x, s, a,
                                          a.workspace, stream);
}
template void convstatistics_mma_tf32<ConvTile::by_cost>(const ConvStatisticsShape&,
                                                         const ConvStatisticsArgs&, Stream);
template void convstatistics_mma_tf32<ConvTile::large>(const ConvStatisticsShape&, const ConvStatisticsArgs&,
                                                       Stream);
template void convstatistics_mma_tf32<ConvTile::wide>(const ConvStatisticsShape&, const ConvStatisticsArgs&,
                                                      Stream);
template void convstatistics_mma_tf32<ConvTile::small>(const ConvStatisticsShape&, const ConvStatisticsArgs&,
                                                       Stream);

void convstatistics_mma_tf32_folded(const ConvStatisticsShape& s, const ConvStatisticsArgs& a,
                                    Stream stream) {
  fold_image(s.conv, RTFQ_F32, a.x, a.workspace, stream);
  conv2d_mma_with_statistics<Tf32Product>(
      ConvTile::by_cost, folded_product(s.conv, RTFQ_F32), a.workspace, s, a,
      static_cast<char*>(a.workspace) + convstatistics_folded_image(s), stream);
}

}  // namespace rtfq::kernels::RTFQ_GPU
