// The CPU's implementations of the fused norm and quantizers, best first.
#include "kernels/cpu/features.h"
#include "kernels/cpu/normquant.h"

namespace rtfq::kernels {
namespace {

const char* unsupported(const NormQuantShape& s) {
  return s.norm.type == RTFQ_F32 || s.norm.type == RTFQ_BF16 ? nullptr : "takes f32 and bf16 operands only";
}

const char* avx512_unsupported(const NormQuantShape& s) {
  return cpu::has_avx512() ? unsupported(s) : cpu::no_avx512;
}

}  // namespace

std::span<const NormQuantForward::Impl> NormQuantForward::cpu() {
  static constexpr Impl list[] = {{"avx512", avx512_unsupported, cpu::normquant_forward_avx512},
                                  {"avx2", unsupported, cpu::normquant_forward_avx2},
                                  {"naive", unsupported, cpu::normquant_forward_naive}};
  return list;
}
std::span<const NormQuantReduce::Impl> NormQuantReduce::cpu() {
  static constexpr Impl list[] = {
      {"avx512", avx512_unsupported, cpu::normquant_reduce_avx512, cpu::normquant_reduce_bytes},
      {"avx2", unsupported, cpu::normquant_reduce_avx2, cpu::normquant_reduce_bytes},
      {"naive", unsupported, cpu::normquant_reduce_naive}};
  return list;
}
std::span<const NormQuantApply::Impl> NormQuantApply::cpu() {
  static constexpr Impl list[] = {{"avx512", avx512_unsupported, cpu::normquant_apply_avx512},
                                  {"avx2", unsupported, cpu::normquant_apply_avx2},
                                  {"naive", unsupported, cpu::normquant_apply_naive}};
  return list;
}

}  // namespace rtfq::kernels
