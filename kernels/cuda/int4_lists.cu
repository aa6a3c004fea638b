// The GPU's implementations on 4-bit storage, best first. Those named after a tile are the one before them
// with the tile fixed.
#include "kernels/cuda/int4.h"

namespace rtfq::kernels {

std::span<const Int4Quantize::Impl> Int4Quantize::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {
      {"vector", RTFQ_GPU::int4_quantize_vector_unsupported, RTFQ_GPU::int4_quantize_vector},
      {"naive", RTFQ_GPU::int4_quantize_unsupported, RTFQ_GPU::int4_quantize_naive}};
  return list;
}
std::span<const Conv2dInt4::Impl> Conv2dInt4::RTFQ_GPU_LIST() {
  using namespace RTFQ_GPU;
  static constexpr Impl list[] = {
      {"mma", conv2d_int4_mma_unsupported, conv2d_int4_mma<ConvTile::by_cost>},
      {"mma_128x128", conv2d_int4_mma_unsupported, conv2d_int4_mma<ConvTile::large>},
      {"mma_128x64", conv2d_int4_mma_unsupported, conv2d_int4_mma<ConvTile::wide>},
      {"mma_64x64", conv2d_int4_mma_unsupported, conv2d_int4_mma<ConvTile::small>},
      {"naive", conv2d_int4_naive_unsupported, conv2d_int4_naive}};
  return list;
}

}  // namespace rtfq::kernels
