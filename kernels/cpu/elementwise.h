#pragma once
// The CPU's ReLU and addition; what they compute is stated in kernels/elementwise.h.

#include "kernels/elementwise.h"

namespace rtfq::kernels::cpu {

void relu_forward_avx512(const ElementwiseShape&, const ReluForwardArgs&, Stream);
void relu_backward_avx512(const ElementwiseShape&, const ReluBackwardArgs&, Stream);
void add_avx512(const ElementwiseShape&, const AddArgs&, Stream);

void relu_forward_avx2(const ElementwiseShape&, const ReluForwardArgs&, Stream);
void relu_backward_avx2(const ElementwiseShape&, const ReluBackwardArgs&, Stream);
void add_avx2(const ElementwiseShape&, const AddArgs&, Stream);

}  // namespace rtfq::kernels::cpu
