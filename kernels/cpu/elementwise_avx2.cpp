// ReLU and addition in AVX2.
#include "kernels/cpu/elementwise_lanes.h"
#include "kernels/cpu/lanes_avx2.h"

namespace rtfq::kernels::cpu {

void relu_forward_avx2(const ElementwiseShape& s, const ReluForwardArgs& a, Stream) {
  map<Avx2>(s, a.x, a.x, a.y, Relu<Avx2>{});
}
void relu_backward_avx2(const ElementwiseShape& s, const ReluBackwardArgs& a, Stream) {
  map<Avx2>(s, a.g, a.y, a.dx, ReluGradient<Avx2>{});
}
void add_avx2(const ElementwiseShape& s, const AddArgs& a, Stream) {
  map<Avx2>(s, a.a, a.b, a.y, Sum<Avx2>{});
}

}  // namespace rtfq::kernels::cpu
