// Fake-quant in AVX-512, for processors that have it.
#include "kernels/cpu/fakequant_backward.h"
#include "kernels/cpu/fakequant_forward.h"
#include "kernels/cpu/lanes_avx512.h"

namespace rtfq::kernels::cpu {

void fakequant_forward_avx512(const FakeQuantShape& s, const FakeQuantForwardArgs& a, Stream) {
  s.type == RTFQ_BF16 ? fakequant_forward<Avx512, bf16>(s, a) : fakequant_forward<Avx512, float>(s, a);
}
void fakequant_backward_avx512(const FakeQuantShape& s, const FakeQuantBackwardArgs& a, Stream) {
  s.type == RTFQ_BF16 ? fakequant_backward<Avx512, bf16>(s, a) : fakequant_backward<Avx512, float>(s, a);
}
void abs_sum_avx512(const FakeQuantShape& s, const AbsSumArgs& a, Stream) {
  s.type == RTFQ_BF16 ? abs_sum<Avx512, bf16>(s, a) : abs_sum<Avx512, float>(s, a);
}

}  // namespace rtfq::kernels::cpu
