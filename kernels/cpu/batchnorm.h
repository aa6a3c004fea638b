#pragma once
// The CPU's batch normalization kernels; what they compute is stated in kernels/batchnorm.h.

#include "kernels/batchnorm.h"

namespace rtfq::kernels::cpu {

/// Workspace of the kernels that sum.
std::size_t batchnorm_sums_bytes(const BatchNormShape&);

void batchnorm_statistics_avx512(const BatchNormShape&, const BatchNormStatisticsArgs&, Stream);
void batchnorm_normalize_avx512(const BatchNormShape&, const BatchNormNormalizeArgs&, Stream);
void batchnorm_reduce_avx512(const BatchNormShape&, const BatchNormReduceArgs&, Stream);
void batchnorm_apply_avx512(const BatchNormShape&, const BatchNormApplyArgs&, Stream);

void batchnorm_statistics_avx2(const BatchNormShape&, const BatchNormStatisticsArgs&, Stream);
void batchnorm_normalize_avx2(const BatchNormShape&, const BatchNormNormalizeArgs&, Stream);
void batchnorm_reduce_avx2(const BatchNormShape&, const BatchNormReduceArgs&, Stream);
void batchnorm_apply_avx2(const BatchNormShape&, const BatchNormApplyArgs&, Stream);

void batchnorm_statistics_naive(const BatchNormShape&, const BatchNormStatisticsArgs&, Stream);
void batchnorm_normalize_naive(const BatchNormShape&, const BatchNormNormalizeArgs&, Stream);
void batchnorm_reduce_naive(const BatchNormShape&, const BatchNormReduceArgs&, Stream);
void batchnorm_apply_naive(const BatchNormShape&, const BatchNormApplyArgs&, Stream);

}  // namespace rtfq::kernels::cpu
