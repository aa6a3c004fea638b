#include "kernels/cpu/features.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <dnnl.hpp>

namespace rtfq::kernels::cpu {
namespace {

/// oneDNN's instruction sets are sets of bits, each containing what it builds on.
bool has(dnnl::cpu_isa wanted) {
  const auto bits = static_cast<unsigned>(wanted);
  return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & bits) == bits;
}

}  // namespace

bool fast_bf16() {
  return has(dnnl::cpu_isa::avx512_core_bf16);
}

bool fast_int8() {
  return has(dnnl::cpu_isa::avx512_core_vnni) || has(dnnl::cpu_isa::avx2_vnni);
}

bool has_avx512() {
  static const bool here = has(dnnl::cpu_isa::avx512_core);
  return here;
}

bool has_avx_vnni() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  // Of the extended features' second page; 512 bits of VNNI say nothing of it.
  return has(dnnl::cpu_isa::avx2_vnni) && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax & 1 << 4);
}

bool has_amx() {
  if (!has(dnnl::cpu_isa::avx512_core_amx)) return false;
  constexpr int ask = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  static const bool granted = syscall(SYS_arch_prctl, ask, tile_data) == 0;
  return granted;
}

std::string describe_features() {
  if (has_amx()) return "AMX";
  const std::string vectors = has_avx512() ? "AVX-512" : "AVX2";
  return vectors + (fast_bf16() ? ", BF16" : ", no BF16") + (fast_int8() ? ", VNNI" : ", no VNNI");
}

}  // namespace rtfq::kernels::cpu
