// The CPU's implementations of batch normalization, best first.
#include "kernels/cpu/batchnorm.h"
#include "kernels/cpu/features.h"

namespace rtfq::kernels {
namespace {

const char* unsupported(const BatchNormShape& s) {
  return s.type == RTFQ_F32 || s.type == RTFQ_BF16 ? nullptr : "takes f32 and bf16 operands only";
}

const char* avx512_unsupported(const BatchNormShape& s) {
  return cpu::has_avx512() ? unsupported(s) : cpu::no_avx512;
}

}  // namespace

std::span<const BatchNormStatistics::Impl> BatchNormStatistics::cpu() {
  static constexpr Impl list[] = {
      {"avx512", avx512_unsupported, cpu::batchnorm_statistics_avx512, cpu::batchnorm_sums_bytes},
      {"avx2", unsupported, cpu::batchnorm_statistics_avx2, cpu::batchnorm_sums_bytes},
      {"naive", unsupported, cpu::batchnorm_statistics_naive}};
  return list;
}
std::span<const BatchNormNormalize::Impl> BatchNormNormalize::cpu() {
  static constexpr Impl list[] = {{"avx512", avx512_unsupported, cpu::batchnorm_normalize_avx512},
                                  {"avx2", unsupported, cpu::batchnorm_normalize_avx2},
                                  {"naive", unsupported, cpu::batchnorm_normalize_naive}};
  return list;
}
std::span<const BatchNormReduce::Impl> BatchNormReduce::cpu() {
  static constexpr Impl list[] = {
      {"avx512", avx512_unsupported, cpu::batchnorm_reduce_avx512, cpu::batchnorm_sums_bytes},
      {"avx2", unsupported, cpu::batchnorm_reduce_avx2, cpu::batchnorm_sums_bytes},
      {"naive", unsupported, cpu::batchnorm_reduce_naive}};
  return list;
}
std::span<const BatchNormApply::Impl> BatchNormApply::cpu() {
  static constexpr Impl list[] = {{"avx512", avx512_unsupported, cpu::batchnorm_apply_avx512},
                                  {"avx2", unsupported, cpu::batchnorm_apply_avx2},
                                  {"naive", unsupported, cpu::batchnorm_apply_naive}};
  return list;
}

}  // namespace rtfq::kernels
