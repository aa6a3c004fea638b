// Convolution of codes on tensor cores, from sm_80 on, with the batch statistics of its result in f32 or
// bf16: y is not read again.
//
// Blocks, tiles and copies are those of conv2d_mma_codes.cu, whose kernel this is with another end: a thread
// keeps the values that it stores, and the block sums them by channel, first for the mean, then about it
// (convstatistics.h). Floor: a byte an element of x and the weights, 2 or 4 of y, 12 a channel and tile of 64
// or 128 rows; 2 n p q k r s c operations on codes, 5 on floats an output. Limits: those of
// conv2d_mma_codes.cu. Shared memory: 2 or 3 KB more than there. Not yet timed on a GPU.
#include "kernels/cuda/convstatistics.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

void multiply(ConvTile tile, const ConvProduct& z, const void* x, const ConvStatisticsShape& s,
              const ConvStatisticsArgs& a, void* workspace, Stream stream) {
  if (s.conv.x_type == RTFQ_U8)
    conv2d_mma_with_statistics<U8Product>(tile, z, x, s, a, workspace, stream);
  else
    conv2d_mma_with_statistics<S8Product>(tile, z, x, s, a, workspace, stream);
}

}  // namespace

template <ConvTile tile>
void convstatistics_mma_codes(const ConvStatisticsShape& s, const ConvStatisticsArgs& a, Stream stream) {
  multiply(tile, forward_product(s.conv, s.conv.c_parent), a.x, s, a, a.workspace, stream);
}
template void convstatistics_mma_codes<ConvTile::by_cost>(const ConvStatisticsShape&,
                                                          const ConvStatisticsArgs&, Stream);
template void convstatistics_mma_codes<ConvTile::large>(const ConvStatisticsShape&, const ConvStatisticsArgs&,
                                                        Stream);
template void convstatistics_mma_codes<ConvTile::wide>(const ConvStatisticsShape&, const ConvStatisticsArgs&,
                                                       Stream);
template void convstatistics_mma_codes<ConvTile::small>(const ConvStatisticsShape&, const ConvStatisticsArgs&,
                                                        Stream);

void convstatistics_mma_codes_folded(const ConvStatisticsShape& s, const ConvStatisticsArgs& a,
                                     Stream stream) {
  fold_image(s.conv, s.conv.x_type, a.x, a.workspace, stream);
  multiply(ConvTile::by_cost, folded_product(s.conv, s.conv.x_type), a.workspace, s, a,
           static_cast<char*>(a.workspace) + convstatistics_folded_image(s), stream);
}

}  // namespace rtfq::kernels::RTFQ_GPU
