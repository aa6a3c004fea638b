// The fused convolution in AVX2 (convquant_pairs.h has its floor). Figures: docs/results/cpu-inference.md.
#include "kernels/cpu/convquant.h"
#include "kernels/cpu/convquant_finish_avx2.h"
#include "kernels/cpu/convquant_pairs.h"

namespace rtfq::kernels::cpu {

using Plan = ConvPlan<Avx2Kernel>;

const char* convquant_avx2_unsupported(const ConvQuantShape& s) {
  return conv_plan_unsupported<Avx2Kernel>(s.conv);
}

std::size_t convquant_avx2_workspace(const ConvQuantShape& s) {
  return Plan(s.conv).workspace_bytes();
}

std::size_t convquant_avx2_packed(const ConvQuantShape& s) {
  return pairs_bytes(Plan(s.conv));
}

void convquant_avx2_pack(const ConvQuantShape& s, const void* weights, void* packed, Stream) {
  pack_pairs(Plan(s.conv), weights, packed, s.x_qp);
}

void convquant_avx2(const ConvQuantShape& s, const ConvQuantArgs& a, Stream) {
  const Plan plan(s.conv);
  const uint8_t* x = read_codes(plan, a.x, a.workspace);
  with_finish<FinishAvx2>(s, a, [&](const auto& finish) {
    convolve(plan, x, {a.packed, a.next_packed, a.next_bytes}, finish);
  });
}

}  // namespace rtfq::kernels::cpu
