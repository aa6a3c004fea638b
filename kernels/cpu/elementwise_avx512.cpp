// ReLU and addition in AVX-512, for processors that have it.
#include "kernels/cpu/elementwise_lanes.h"
#include "kernels/cpu/lanes_avx512.h"

namespace rtfq::kernels::cpu {

void relu_forward_avx512(const ElementwiseShape& s, const ReluForwardArgs& a, Stream) {
  map<Avx512>(s, a.x, a.x, a.y, Relu<Avx512>{});
}
void relu_backward_avx512(const ElementwiseShape& s, const ReluBackwardArgs& a, Stream) {
  map<Avx512>(s, a.g, a.y, a.dx, ReluGradient<Avx512>{});
}
void add_avx512(const ElementwiseShape& s, const AddArgs& a, Stream) {
  map<Avx512>(s, a.a, a.b, a.y, Sum<Avx512>{});
}

}  // namespace rtfq::kernels::cpu
