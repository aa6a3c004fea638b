// The CPU's implementations of fake-quant, best first.
#include "kernels/cpu/fakequant.h"
#include "kernels/cpu/fakequant_partition.h"
#include "kernels/cpu/features.h"

namespace rtfq::kernels {

std::size_t cpu::fakequant_sums_bytes(const FakeQuantShape& s) {
  return static_cast<std::size_t>(FakeQuantPartition(s).blocks()) * sizeof(double);
}

namespace {

const char* unsupported(const FakeQuantShape& s) {
  return s.type == RTFQ_F32 || s.type == RTFQ_BF16 || s.type == RTFQ_F16 ? nullptr
                                                                         : "takes f32, bf16 or f16 operands";
}

const char* avx512_unsupported(const FakeQuantShape& s) {
  return cpu::has_avx512() ? unsupported(s) : cpu::no_avx512;
}

}  // namespace

std::span<const FakeQuantForward::Impl> FakeQuantForward::cpu() {
  static constexpr Impl list[] = {{"avx512", avx512_unsupported, cpu::fakequant_forward_avx512},
                                  {"avx2", unsupported, cpu::fakequant_forward_avx2},
                                  {"naive", unsupported, cpu::fakequant_forward_naive}};
  return list;
}
std::span<const FakeQuantBackward::Impl> FakeQuantBackward::cpu() {
  static constexpr Impl list[] = {
      {"avx512", avx512_unsupported, cpu::fakequant_backward_avx512, cpu::fakequant_sums_bytes},
      {"avx2", unsupported, cpu::fakequant_backward_avx2, cpu::fakequant_sums_bytes},
      {"naive", unsupported, cpu::fakequant_backward_naive}};
  return list;
}
std::span<const AbsSum::Impl> AbsSum::cpu() {
  static constexpr Impl list[] = {
      {"avx512", avx512_unsupported, cpu::abs_sum_avx512, cpu::fakequant_sums_bytes},
      {"avx2", unsupported, cpu::abs_sum_avx2, cpu::fakequant_sums_bytes},
      {"naive", unsupported, cpu::abs_sum_naive}};
  return list;
}

}  // namespace rtfq::kernels
