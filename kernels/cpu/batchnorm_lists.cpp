// The CPU's implementations of batch normalization, best first.
#include "kernels/cpu/batchnorm.h"

namespace rtfq::kernels {
namespace {

const char* unsupported(const BatchNormShape& s) {
  return s.type == RTFQ_F32 || s.type == RTFQ_BF16 ? nullptr : "takes f32 and bf16 operands only";
}

}  // namespace

std::span<const BatchNormStatistics::Impl> BatchNormStatistics::cpu() {
  static constexpr Impl list[] = {
      {"avx2", unsupported, cpu::batchnorm_statistics_avx2, cpu::batchnorm_statistics_bytes},
      {"naive", unsupported, cpu::batchnorm_statistics_naive}};
  return list;
}
std::span<const BatchNormNormalize::Impl> BatchNormNormalize::cpu() {
  static constexpr Impl list[] = {{"avx2", unsupported, cpu::batchnorm_normalize_avx2},
                                  {"naive", unsupported, cpu::batchnorm_normalize_naive}};
  return list;
}
std::span<const BatchNormReduce::Impl> BatchNormReduce::cpu() {
  static constexpr Impl list[] = {
      {"avx2", unsupported, cpu::batchnorm_reduce_avx2, cpu::batchnorm_reduce_bytes},
      {"naive", unsupported, cpu::batchnorm_reduce_naive}};
  return list;
}
std::span<const BatchNormApply::Impl> BatchNormApply::cpu() {
  static constexpr Impl list[] = {{"avx2", unsupported, cpu::batchnorm_apply_avx2},
                                  {"naive", unsupported, cpu::batchnorm_apply_naive}};
  return list;
}

}  // namespace rtfq::kernels
