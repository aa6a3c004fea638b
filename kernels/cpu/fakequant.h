#pragma once
// The CPU's fake-quant kernels; what they compute is stated in kernels/fakequant.h.

#include "kernels/fakequant.h"

namespace rtfq::kernels::cpu {

/// Workspace of the kernels that sum: one double a block.
std::size_t fakequant_sums_bytes(const FakeQuantShape&);

void fakequant_forward_avx512(const FakeQuantShape&, const FakeQuantForwardArgs&, Stream);
void fakequant_backward_avx512(const FakeQuantShape&, const FakeQuantBackwardArgs&, Stream);
void abs_sum_avx512(const FakeQuantShape&, const AbsSumArgs&, Stream);

void fakequant_forward_avx2(const FakeQuantShape&, const FakeQuantForwardArgs&, Stream);
void fakequant_backward_avx2(const FakeQuantShape&, const FakeQuantBackwardArgs&, Stream);
void abs_sum_avx2(const FakeQuantShape&, const AbsSumArgs&, Stream);

void fakequant_forward_naive(const FakeQuantShape&, const FakeQuantForwardArgs&, Stream);
void fakequant_backward_naive(const FakeQuantShape&, const FakeQuantBackwardArgs&, Stream);
void abs_sum_naive(const FakeQuantShape&, const AbsSumArgs&, Stream);

}  // namespace rtfq::kernels::cpu
