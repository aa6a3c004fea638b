// A convolution of codes on tensor cores, from sm_80 on, whose sums go through norm, residual and quantizers
// before anything is stored: between two convolutions a byte an element is written, and nothing read again.
//
// Blocks, tiles and copies are those of conv2d_mma_codes.cu, whose kernel this is with another end: a thread
// finishes 8 neighbouring output channels of a pixel at a time (convquant.h). Floor: a byte an element of x
// and the weights, 1 of each code written, 1 or 4 of a residual and of identity values; 2 n p q k r s c
// operations on codes, some 20 on floats an output. Limits: those of conv2d_mma_codes.cu. Not yet timed on a
// GPU.
#include "kernels/cuda/conv2d.h"
#include "kernels/cuda/conv2d_mma.h"
#include "kernels/cuda/convquant.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

void multiply(ConvTile tile, const ConvProduct& z, const void* x, const ConvQuantShape& s,
              const ConvQuantArgs& a, Stream stream) {
  const QuantizeSums finish(s, a);
  if (!finish.is_aligned())
    throw std::invalid_argument(
        "[convquant] the tensor cores' kernels expect floats at multiples of 16 bytes and codes at multiples "
        "of 8: take them from runtime::allocate, or choose \"naive\"");
  if (s.conv.x_type == RTFQ_U8)
    conv2d_mma<U8Product>(tile, z, x, a.packed, finish, stream);
  else
    conv2d_mma<S8Product>(tile, z, x, a.packed, finish, stream);
}

}  // namespace

template <ConvTile tile>
void convquant_mma(const ConvQuantShape& s, const ConvQuantArgs& a, Stream stream) {
  multiply(tile, forward_product(s.conv, s.conv.c_parent), a.x, s, a, stream);
}
template void convquant_mma<ConvTile::by_cost>(const ConvQuantShape&, const ConvQuantArgs&, Stream);
template void convquant_mma<ConvTile::large>(const ConvQuantShape&, const ConvQuantArgs&, Stream);
template void convquant_mma<ConvTile::wide>(const ConvQuantShape&, const ConvQuantArgs&, Stream);
template void convquant_mma<ConvTile::small>(const ConvQuantShape&, const ConvQuantArgs&, Stream);

void convquant_mma_folded(const ConvQuantShape& s, const ConvQuantArgs& a, Stream stream) {
  fold_image(s.conv, s.conv.x_type, a.x, a.workspace, stream);
  multiply(ConvTile::by_cost, folded_product(s.conv, s.conv.x_type), a.workspace, s, a, stream);
}

}  // namespace rtfq::kernels::RTFQ_GPU
