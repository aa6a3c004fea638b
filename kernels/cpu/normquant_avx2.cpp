// The fused norm and quantizers in AVX2.
#include "kernels/cpu/lanes_avx2.h"
#include "kernels/cpu/normquant_apply.h"
#include "kernels/cpu/normquant_forward.h"
#include "kernels/cpu/normquant_reduce.h"

namespace rtfq::kernels::cpu {

void normquant_forward_avx2(const NormQuantShape& s, const NormQuantForwardArgs& a, Stream) {
  s.norm.type == RTFQ_BF16 ? normquant_forward<Avx2Narrow, bf16>(s, a) : normquant_forward<Avx2Narrow, float>(s, a);
}
void normquant_reduce_avx2(const NormQuantShape& s, const NormQuantReduceArgs& a, Stream) {
  s.norm.type == RTFQ_BF16 ? normquant_reduce<Avx2Narrow, bf16>(s, a) : normquant_reduce<Avx2Narrow, float>(s, a);
}
void normquant_apply_avx2(const NormQuantShape& s, const NormQuantApplyArgs& a, Stream) {
  s.norm.type == RTFQ_BF16 ? normquant_apply<Avx2Narrow, bf16>(s, a) : normquant_apply<Avx2Narrow, float>(s, a);
}

}  // namespace rtfq::kernels::cpu
