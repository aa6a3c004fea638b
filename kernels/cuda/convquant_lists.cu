// The GPU's implementations of the fused convolution, best first.
#include "kernels/cuda/conv2d.h"
#include "kernels/cuda/convquant.h"

namespace rtfq::kernels {
namespace RTFQ_GPU {
namespace {

const char* mma_unsupported(const ConvQuantShape& s) {
  return conv2d_mma_codes_unsupported(Conv2dForward{}, s.conv);
}
const char* folded_unsupported(const ConvQuantShape& s) {
  return conv2d_mma_codes_folded_unsupported(Conv2dForward{}, s.conv);
}
const char* naive_unsupported(const ConvQuantShape& s) {
  const int64_t outputs = s.conv.n * output_height(s.conv) * output_width(s.conv) * s.conv.k;
  return outputs / 128 < INT32_MAX ? nullptr : "takes fewer than 2^38 outputs";
}
std::size_t folded_x_bytes(const ConvQuantShape& s) {
  return folded_bytes(s.conv, s.conv.x_type);
}
std::size_t folded_weight_bytes(const ConvQuantShape& s) {
  return packed_folded_bytes(s.conv);
}
void fold_weights(const ConvQuantShape& s, const void* weights, void* packed, Stream stream) {
  pack_folded(s.conv, weights, packed, stream);
}

}  // namespace
}  // namespace RTFQ_GPU

std::span<const ConvQuantForward::Impl> ConvQuantForward::RTFQ_GPU_LIST() {
  using namespace RTFQ_GPU;
  static constexpr Impl list[] = {{"mma", mma_unsupported, convquant_mma<ConvTile::by_cost>},
                                  {"mma_folded", folded_unsupported, convquant_mma_folded, folded_x_bytes,
                                   folded_weight_bytes, fold_weights},
                                  {"mma_128x128", mma_unsupported, convquant_mma<ConvTile::large>},
                                  {"mma_128x64", mma_unsupported, convquant_mma<ConvTile::wide>},
                                  {"mma_64x64", mma_unsupported, convquant_mma<ConvTile::small>},
                                  {"naive", naive_unsupported, convquant_naive}};
  return list;
}

}  // namespace rtfq::kernels
