// The GPU's implementations of the fused norm and quantizers, best first.
#include "kernels/cuda/normquant.h"

namespace rtfq::kernels {
namespace RTFQ_GPU {

const char* normquant_unsupported(const NormQuantShape& s) {
  return batchnorm_unsupported(s.norm);
}

}  // namespace RTFQ_GPU

std::span<const NormQuantForward::Impl> NormQuantForward::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {
      {"rows", RTFQ_GPU::normquant_unsupported, RTFQ_GPU::normquant_forward_rows},
      {"naive", RTFQ_GPU::normquant_unsupported, RTFQ_GPU::normquant_forward_naive}};
  return list;
}
std::span<const NormQuantReduce::Impl> NormQuantReduce::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"blocks", RTFQ_GPU::normquant_unsupported,
                                   RTFQ_GPU::normquant_reduce_blocks, RTFQ_GPU::normquant_reduce_bytes},
                                  {"naive", RTFQ_GPU::normquant_unsupported, RTFQ_GPU::normquant_reduce_naive,
                                   RTFQ_GPU::normquant_naive_bytes}};
  return list;
}
std::span<const NormQuantApply::Impl> NormQuantApply::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {
      {"rows", RTFQ_GPU::normquant_unsupported, RTFQ_GPU::normquant_apply_rows},
      {"naive", RTFQ_GPU::normquant_unsupported, RTFQ_GPU::normquant_apply_naive}};
  return list;
}

}  // namespace rtfq::kernels
