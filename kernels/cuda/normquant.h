#pragma once
// The GPU's fused norm and quantizers; what they compute is stated in kernels/normquant.h.

#include "kernels/cuda/batchnorm.h"
#include "kernels/normquant.h"

namespace rtfq::kernels::RTFQ_GPU {

const char* normquant_unsupported(const NormQuantShape&);
/// Of the naive reduce: doubles [2][segments*c], each channel's terms of the step sizes' gradients.
std::size_t normquant_naive_bytes(const NormQuantShape&);

/// Of reduce: two doubles a block, three f32 for each chunk and channel.
std::size_t normquant_reduce_bytes(const NormQuantShape&);

void normquant_forward_rows(const NormQuantShape&, const NormQuantForwardArgs&, Stream);
void normquant_reduce_blocks(const NormQuantShape&, const NormQuantReduceArgs&, Stream);
void normquant_apply_rows(const NormQuantShape&, const NormQuantApplyArgs&, Stream);

void normquant_forward_naive(const NormQuantShape&, const NormQuantForwardArgs&, Stream);
void normquant_reduce_naive(const NormQuantShape&, const NormQuantReduceArgs&, Stream);
void normquant_apply_naive(const NormQuantShape&, const NormQuantApplyArgs&, Stream);

}  // namespace rtfq::kernels::RTFQ_GPU
