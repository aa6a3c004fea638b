#pragma once
// The CPU's fused norm and quantizer kernels; what they compute is stated in kernels/normquant.h.

#include "kernels/normquant.h"

namespace rtfq::kernels::cpu {

std::size_t normquant_reduce_bytes(const NormQuantShape&);

void normquant_forward_avx512(const NormQuantShape&, const NormQuantForwardArgs&, Stream);
void normquant_reduce_avx512(const NormQuantShape&, const NormQuantReduceArgs&, Stream);
void normquant_apply_avx512(const NormQuantShape&, const NormQuantApplyArgs&, Stream);

void normquant_forward_avx2(const NormQuantShape&, const NormQuantForwardArgs&, Stream);
void normquant_reduce_avx2(const NormQuantShape&, const NormQuantReduceArgs&, Stream);
void normquant_apply_avx2(const NormQuantShape&, const NormQuantApplyArgs&, Stream);

void normquant_forward_naive(const NormQuantShape&, const NormQuantForwardArgs&, Stream);
void normquant_reduce_naive(const NormQuantShape&, const NormQuantReduceArgs&, Stream);
void normquant_apply_naive(const NormQuantShape&, const NormQuantApplyArgs&, Stream);

}  // namespace rtfq::kernels::cpu
