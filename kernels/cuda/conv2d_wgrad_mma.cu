// The weight gradient on tensor cores, from sm_80 on: x in bf16 or codes (exact in bf16), g in bf16, sums in
// f32 in an order that depends on the shape alone.
//
// Blocks, tiles and copies are those of conv2d_wgrad_mma.h; of several pieces of the pixels a second launch adds
// the sums (conv2d_wgrad_sum.cu). Floor: x and g once, 4 bytes a weight, 8 more for each of several pieces, 2 n
// p q k r s c operations. Limits: output channels that are multiples of 8; input channels that are (of 16 with
// codes), or at most 4, whose image is folded into bf16 first; filters of at most 8x8; operands of at most 2^30
// elements. Shared memory: 96, 72 or 48 KB, less with codes. On an H200 (2026-11-27; batch 64, 3x3), with 4
// stages and an adding launch that took longer than the products: 112 us for 480 channels at 7x7, 62 us for
// 256 at 14x14; not yet timed since.
#include "kernels/cuda/conv2d.h"
#include "kernels/cuda/conv2d_wgrad_mma.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

/// Images are folded as bf16, codes too: it holds them exactly, in half as many columns.
bool is_folded(const Conv2dShape& s) {
  return s.c <= 4;
}

WgradMmaPlan plan_of(const Conv2dShape& s, ConvTile wanted) {
  const int x_bytes = is_folded(s) ? 2 : static_cast<int>(element_bytes(s.x_type));
  return plan_wgrad_mma(s, wanted, is_folded(s), RTFQ_BF16,
                        [&](ConvTile tile) { return wgrad_mma_tile<HalfTerms>(tile, x_bytes, 2e6); });
}

}  // namespace

const char* conv2d_wgrad_mma_unsupported(const Conv2dWgrad& op, const Conv2dShape& s) {
  if (const char* reason = unsupported_types(op, s)) return reason;
  if (s.y_type != RTFQ_BF16) return "takes gradients in bf16";
  if (is_folded(s)) return fold_unsupported(s, RTFQ_BF16);
  return product_unsupported(s, s.c, element_bytes(s.x_type), s.k);
}

template <ConvTile wanted>
std::size_t conv2d_wgrad_mma_bytes(const Conv2dShape& s) {
  return plan_of(s, wanted).workspace();
}

template <ConvTile wanted>
void conv2d_wgrad_mma(const Conv2dShape& s, const Conv2dWgradArgs& a, Stream stream) {
  const WgradMmaPlan plan = plan_of(s, wanted);
  const auto sums = [&](const void* x, const WgradTo& to) {
    if (s.x_type == RTFQ_BF16 || plan.folded)
      launch_wgrad_mma<HalfTerms, bf16>(plan.tile, plan.w, x, a.g, to, stream);
    else if (s.x_type == RTFQ_U8)
      launch_wgrad_mma<HalfTerms, uint8_t>(plan.tile, plan.w, x, a.g, to, stream);
    else
      launch_wgrad_mma<HalfTerms, int8_t>(plan.tile, plan.w, x, a.g, to, stream);
  };
  run_wgrad_mma(plan, s, a, sums, stream);
}

template std::size_t conv2d_wgrad_mma_bytes<ConvTile::by_cost>(const Conv2dShape&);
template void conv2d_wgrad_mma<ConvTile::by_cost>(const Conv2dShape&, const Conv2dWgradArgs&, Stream);
template std::size_t conv2d_wgrad_mma_bytes<ConvTile::large>(const Conv2dShape&);
template void conv2d_wgrad_mma<ConvTile::large>(const Conv2dShape&, const Conv2dWgradArgs&, Stream);
template std::size_t conv2d_wgrad_mma_bytes<ConvTile::wide>(const Conv2dShape&);
template void conv2d_wgrad_mma<ConvTile::wide>(const Conv2dShape&, const Conv2dWgradArgs&, Stream);
template std::size_t conv2d_wgrad_mma_bytes<ConvTile::small>(const Conv2dShape&);
template void conv2d_wgrad_mma<ConvTile::small>(const Conv2dShape&, const Conv2dWgradArgs&, Stream);

}  // namespace rtfq::kernels::RTFQ_GPU
