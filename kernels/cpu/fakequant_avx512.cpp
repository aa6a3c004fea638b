// Fake-quant in AVX-512, for processors that have it.
#include "kernels/cpu/fakequant_backward.h"
#include "kernels/cpu/fakequant_forward.h"
#include "kernels/cpu/lanes_avx512.h"

namespace rtfq::kernels::cpu {

void fakequant_forward_avx512(const FakeQuantShape& s, const FakeQuantForwardArgs& a, Stream) {
  with_element(s, [&](auto one) { fakequant_forward<Avx512, decltype(one)>(s, a); });
}
void fakequant_backward_avx512(const FakeQuantShape& s, const FakeQuantBackwardArgs& a, Stream) {
  with_element(s, [&](auto one) { fakequant_backward<Avx512, decltype(one)>(s, a); });
}
void abs_sum_avx512(const FakeQuantShape& s, const AbsSumArgs& a, Stream) {
  with_element(s, [&](auto one) { abs_sum<Avx512, decltype(one)>(s, a); });
}

}  // namespace rtfq::kernels::cpu
