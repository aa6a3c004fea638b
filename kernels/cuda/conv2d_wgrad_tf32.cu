// The weight gradient of f32 in TF32 on tensor cores, from sm_80 on: operands are rounded on their way to
// registers, sums are f32, in an order that depends on the shape alone.
//
// Blocks, tiles and copies are those of conv2d_wgrad_mma.h; of several pieces of the pixels a second launch adds
// the sums (conv2d_wgrad_sum.cu). Floor: x and g once, 4 bytes a weight, 8 more for each of several pieces, 2 n
// p q k r s c operations at half of bf16's rate. Limits: output channels that are multiples of 8; input channels
// that are multiples of 4, those of fewer being folded first; filters of at most 8x8; operands of at most 2^30
// elements. Shared memory: 96, 72 or 48 KB. Not yet timed on a GPU.
#include "kernels/cuda/conv2d_tf32.h"
#include "kernels/cuda/conv2d_wgrad_mma.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

bool is_folded(const Conv2dShape& s) {
  return s.c < 4;
}

WgradMmaPlan plan_of(const Conv2dShape& s, ConvTile wanted) {
  return plan_wgrad_mma(s, wanted, is_folded(s), RTFQ_F32,
                        [](ConvTile tile) { return wgrad_mma_tile<Tf32Terms>(tile, 4, 1e6); });
}

}  // namespace

const char* conv2d_tf32_unsupported(const Conv2dWgrad&, const Conv2dShape& s) {
  if (const char* reason = tf32_types_unsupported(s)) return reason;
  return is_folded(s) ? fold_unsupported(s, RTFQ_F32) : product_unsupported(s, s.c, 4, s.k);
}

template <ConvTile wanted>
std::size_t conv2d_wgrad_tf32_bytes(const Conv2dShape& s) {
  return plan_of(s, wanted).workspace();
}

template <ConvTile wanted>
void conv2d_tf32(const Conv2dShape& s, const Conv2dWgradArgs& a, Stream stream) {
  const WgradMmaPlan plan = plan_of(s, wanted);
  const auto sums = [&](const void* x, const WgradTo& to) {
    launch_wgrad_mma<Tf32Terms, float>(plan.tile, plan.w, x, a.g, to, stream);
  };
  run_wgrad_mma(plan, s, a, sums, stream);
}

template std::size_t conv2d_wgrad_tf32_bytes<ConvTile::by_cost>(const Conv2dShape&);
template void conv2d_tf32<ConvTile::by_cost>(const Conv2dShape&, const Conv2dWgradArgs&, Stream);
template std::size_t conv2d_wgrad_tf32_bytes<ConvTile::large>(const Conv2dShape&);
template void conv2d_tf32<ConvTile::large>(const Conv2dShape&, const Conv2dWgradArgs&, Stream);
template std::size_t conv2d_wgrad_tf32_bytes<ConvTile::wide>(const Conv2dShape&);
template void conv2d_tf32<ConvTile::wide>(const Conv2dShape&, const Conv2dWgradArgs&, Stream);
template std::size_t conv2d_wgrad_tf32_bytes<ConvTile::small>(const Conv2dShape&);
template void conv2d_tf32<ConvTile::small>(const Conv2dShape&, const Conv2dWgradArgs&, Stream);

}  // namespace rtfq::kernels::RTFQ_GPU
