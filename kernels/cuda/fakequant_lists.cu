// The GPU's implementations of fake-quant, best first.
#include "kernels/cuda/fakequant.h"

namespace rtfq::kernels {
namespace RTFQ_GPU {

std::size_t fakequant_sums_bytes(const FakeQuantShape& s) {
  return static_cast<std::size_t>(FakeQuantCut(s).blocks()) * sizeof(double);
}

const char* fakequant_unsupported(const FakeQuantShape& s) {
  if (s.type != RTFQ_F32 && s.type != RTFQ_BF16 && s.type != RTFQ_F16)
    return "takes f32, bf16 and f16 operands only";
  // With fewer blocks than that, numbers of lines and blocks fit in 32 bits too.
  return s.rows * s.groups < INT32_MAX && count(s) / FakeQuantCut::piece_of<float> < INT32_MAX / 4
             ? nullptr
             : "takes fewer than 2^31 lines";
}

}  // namespace RTFQ_GPU

std::span<const FakeQuantForward::Impl> FakeQuantForward::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {
      {"vector", RTFQ_GPU::fakequant_unsupported, RTFQ_GPU::fakequant_forward_vector},
      {"naive", RTFQ_GPU::fakequant_unsupported, RTFQ_GPU::fakequant_forward_naive}};
  return list;
}
std::span<const FakeQuantBackward::Impl> FakeQuantBackward::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {
      {"fused", RTFQ_GPU::fakequant_unsupported, RTFQ_GPU::fakequant_backward_fused,
       RTFQ_GPU::fakequant_sums_bytes},
      {"naive", RTFQ_GPU::fakequant_unsupported, RTFQ_GPU::fakequant_backward_naive}};
  return list;
}
std::span<const AbsSum::Impl> AbsSum::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {
      {"blocks", RTFQ_GPU::fakequant_unsupported, RTFQ_GPU::abs_sum_blocks, RTFQ_GPU::fakequant_sums_bytes},
      {"naive", RTFQ_GPU::fakequant_unsupported, RTFQ_GPU::abs_sum_naive}};
  return list;
}

}  // namespace rtfq::kernels
