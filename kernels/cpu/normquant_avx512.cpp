// The fused norm and quantizers in AVX-512, for processors that have it.
#include "kernels/cpu/lanes_avx512.h"
#include "kernels/cpu/normquant_apply.h"
#include "kernels/cpu/normquant_forward.h"
#include "kernels/cpu/normquant_reduce.h"

namespace rtfq::kernels::cpu {

void normquant_forward_avx512(const NormQuantShape& s, const NormQuantForwardArgs& a, Stream) {
  s.norm.type == RTFQ_BF16 ? normquant_forward<Avx512, bf16>(s, a) : normquant_forward<Avx512, float>(s, a);
}
void normquant_reduce_avx512(const NormQuantShape& s, const NormQuantReduceArgs& a, Stream) {
  s.norm.type == RTFQ_BF16 ? normquant_reduce<Avx512, bf16>(s, a) : normquant_reduce<Avx512, float>(s, a);
}
void normquant_apply_avx512(const NormQuantShape& s, const NormQuantApplyArgs& a, Stream) {
  s.norm.type == RTFQ_BF16 ? normquant_apply<Avx512, bf16>(s, a) : normquant_apply<Avx512, float>(s, a);
}

}  // namespace rtfq::kernels::cpu
