// The CPU's implementations of fake-quant, best first.
#include "kernels/cpu/fakequant.h"
#include "kernels/cpu/fakequant_partition.h"

namespace rtfq::kernels {
namespace cpu {

std::size_t fakequant_sums_bytes(const FakeQuantShape& s) {
  return static_cast<std::size_t>(FakeQuantPartition(s).blocks()) * sizeof(double);
}

const char* fakequant_unsupported(const FakeQuantShape& s) {
  return s.type == RTFQ_F32 || s.type == RTFQ_BF16 ? nullptr : "takes f32 or bf16 operands";
}

}  // namespace cpu

std::span<const FakeQuantForward::Impl> FakeQuantForward::cpu() {
  static constexpr Impl list[] = {{"avx2", cpu::fakequant_unsupported, cpu::fakequant_forward_avx2},
                                  {"naive", cpu::fakequant_unsupported, cpu::fakequant_forward_naive}};
  return list;
}
std::span<const FakeQuantBackward::Impl> FakeQuantBackward::cpu() {
  static constexpr Impl list[] = {
      {"avx2", cpu::fakequant_unsupported, cpu::fakequant_backward_avx2, cpu::fakequant_sums_bytes},
      {"naive", cpu::fakequant_unsupported, cpu::fakequant_backward_naive}};
  return list;
}
std::span<const AbsSum::Impl> AbsSum::cpu() {
  static constexpr Impl list[] = {
      {"avx2", cpu::fakequant_unsupported, cpu::abs_sum_avx2, cpu::fakequant_sums_bytes},
      {"naive", cpu::fakequant_unsupported, cpu::abs_sum_naive}};
  return list;
}

}  // namespace rtfq::kernels
