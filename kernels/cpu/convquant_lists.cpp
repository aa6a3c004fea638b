// The CPU's implementations of the fused convolution, best first.
#include "kernels/cpu/convquant.h"
#include "kernels/cpu/features.h"

namespace rtfq::kernels {
namespace {

const char* amx_unsupported(const ConvQuantShape& s) {
  static const bool has = cpu::has_amx();
  return has ? cpu::convquant_amx_unsupported(s) : "this processor has no AMX";
}

// The detour over features.h lets ONEDNN_MAX_CPU_ISA take it away.
const char* vnni_unsupported(const ConvQuantShape& s) {
  static const bool has = cpu::has_avx512() && cpu::fast_int8() && __builtin_cpu_supports("avx512vnni");
  return has ? cpu::convquant_vnni_unsupported(s) : "this processor has no AVX-512 with VNNI";
}

const char* avxvnni_unsupported(const ConvQuantShape& s) {
  static const bool has = cpu::has_avx_vnni();
  return has ? cpu::convquant_avxvnni_unsupported(s) : "this processor has no AVX-VNNI";
}

}  // namespace

std::span<const ConvQuantForward::Impl> ConvQuantForward::cpu() {
  static constexpr Impl list[] = {
      {"amx", amx_unsupported, cpu::convquant_amx, cpu::convquant_amx_workspace, cpu::convquant_amx_packed,
       cpu::convquant_amx_pack},
      {"vnni", vnni_unsupported, cpu::convquant_vnni, cpu::convquant_vnni_workspace,
       cpu::convquant_vnni_packed, cpu::convquant_vnni_pack},
      {"avx_vnni", avxvnni_unsupported, cpu::convquant_avxvnni, cpu::convquant_avxvnni_workspace,
       cpu::convquant_avxvnni_packed, cpu::convquant_avxvnni_pack},
      {"avx2", cpu::convquant_avx2_unsupported, cpu::convquant_avx2, cpu::convquant_avx2_workspace,
       cpu::convquant_avx2_packed, cpu::convquant_avx2_pack},
      {"naive", supports_all<ConvQuantShape>, cpu::convquant_naive}};
  return list;
}

}  // namespace rtfq::kernels
