// Fake-quant in AVX2.
#include "kernels/cpu/fakequant_backward.h"
#include "kernels/cpu/fakequant_forward.h"
#include "kernels/cpu/lanes_avx2.h"

namespace rtfq::kernels::cpu {

void fakequant_forward_avx2(const FakeQuantShape& s, const FakeQuantForwardArgs& a, Stream) {
  s.type == RTFQ_BF16 ? fakequant_forward<Avx2, bf16>(s, a) : fakequant_forward<Avx2, float>(s, a);
}
void fakequant_backward_avx2(const FakeQuantShape& s, const FakeQuantBackwardArgs& a, Stream) {
  s.type == RTFQ_BF16 ? fakequant_backward<Avx2, bf16>(s, a) : fakequant_backward<Avx2, float>(s, a);
}
void abs_sum_avx2(const FakeQuantShape& s, const AbsSumArgs& a, Stream) {
  s.type == RTFQ_BF16 ? abs_sum<Avx2, bf16>(s, a) : abs_sum<Avx2, float>(s, a);
}

}  // namespace rtfq::kernels::cpu
