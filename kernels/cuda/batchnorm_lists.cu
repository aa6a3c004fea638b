// The GPU's implementations of batch normalization, best first.
#include "kernels/cuda/batchnorm.h"

namespace rtfq::kernels {
namespace RTFQ_GPU {

const char* batchnorm_unsupported(const BatchNormShape& s) {
  if (s.type != RTFQ_F32 && s.type != RTFQ_BF16) return "takes f32 and bf16 operands only";
  return rows_of(s) * s.c / 128 < INT32_MAX ? nullptr : "takes fewer than 2^31 blocks of elements";
}

}  // namespace RTFQ_GPU

std::span<const BatchNormStatistics::Impl> BatchNormStatistics::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {
      {"blocks", RTFQ_GPU::batchnorm_unsupported, RTFQ_GPU::batchnorm_statistics_blocks,
       RTFQ_GPU::batchnorm_sums_bytes},
      {"naive", RTFQ_GPU::batchnorm_unsupported, RTFQ_GPU::batchnorm_statistics_naive}};
  return list;
}
std::span<const BatchNormNormalize::Impl> BatchNormNormalize::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {
      {"rows", RTFQ_GPU::batchnorm_unsupported, RTFQ_GPU::batchnorm_normalize_rows},
      {"naive", RTFQ_GPU::batchnorm_unsupported, RTFQ_GPU::batchnorm_normalize_naive}};
  return list;
}
std::span<const BatchNormReduce::Impl> BatchNormReduce::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {
      {"blocks", RTFQ_GPU::batchnorm_unsupported, RTFQ_GPU::batchnorm_reduce_blocks,
       RTFQ_GPU::batchnorm_sums_bytes},
      {"naive", RTFQ_GPU::batchnorm_unsupported, RTFQ_GPU::batchnorm_reduce_naive}};
  return list;
}
std::span<const BatchNormApply::Impl> BatchNormApply::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {
      {"rows", RTFQ_GPU::batchnorm_unsupported, RTFQ_GPU::batchnorm_apply_rows},
      {"naive", RTFQ_GPU::batchnorm_unsupported, RTFQ_GPU::batchnorm_apply_naive}};
  return list;
}

}  // namespace rtfq::kernels
