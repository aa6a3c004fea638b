#pragma once
// The GPU's batch normalization kernels; what they compute is stated in kernels/batchnorm.h.

#include "kernels/batchnorm.h"
#include "kernels/cuda/gpu.h"

namespace rtfq::kernels::RTFQ_GPU {

/// The factor of a normalized value: square root and division are correctly rounded, as on the CPU.
__device__ __forceinline__ float inverse_deviation(float variance, float epsilon) {
  return __frcp_rn(__fsqrt_rn(variance + epsilon));
}

/// Rows of x, [n*hw, c].
inline int64_t rows_of(const BatchNormShape& s) {
  return s.n * s.hw;
}

const char* batchnorm_unsupported(const BatchNormShape&);

/// Of statistics and reduce: one f32 for each chunk, sum and channel, and each segment's centres.
std::size_t batchnorm_sums_bytes(const BatchNormShape&);

void batchnorm_statistics_blocks(const BatchNormShape&, const BatchNormStatisticsArgs&, Stream);
void batchnorm_normalize_rows(const BatchNormShape&, const BatchNormNormalizeArgs&, Stream);
void batchnorm_reduce_blocks(const BatchNormShape&, const BatchNormReduceArgs&, Stream);
void batchnorm_apply_rows(const BatchNormShape&, const BatchNormApplyArgs&, Stream);

void batchnorm_statistics_naive(const BatchNormShape&, const BatchNormStatisticsArgs&, Stream);
void batchnorm_normalize_naive(const BatchNormShape&, const BatchNormNormalizeArgs&, Stream);
void batchnorm_reduce_naive(const BatchNormShape&, const BatchNormReduceArgs&, Stream);
void batchnorm_apply_naive(const BatchNormShape&, const BatchNormApplyArgs&, Stream);

}  // namespace rtfq::kernels::RTFQ_GPU
