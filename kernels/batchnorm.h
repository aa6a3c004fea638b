#pragma once
// Batch normalization over [n, hw, c] in segments of the batch, cut where a reducer may join several ranks: statistics |
// normalize forward, and reduce | apply backward. Per-segment arrays are [segments][c], dense; scale and shift come as
// one pointer a segment, because each domain has its own. x, y, g and dx are of shape.type, f32 or bf16;
// everything else is f32, and so is the arithmetic: a bf16 result is rounded once, when it is stored.

#include "kernels/operator.h"

namespace rtfq::kernels {

using BatchNormShape = rtfq_batchnorm_shape;

/// One segment holding all images.
BatchNormShape make_batchnorm_shape(int64_t n, int64_t hw, int64_t c, float epsilon = 1e-5f);
/// `ends`: ascending image indices, the last one n. Throws std::invalid_argument ("[batchnorm] ...") otherwise.
BatchNormShape make_batchnorm_shape(int64_t hw, int64_t c, std::span<const int64_t> ends, float epsilon = 1e-5f);
int64_t count(const BatchNormShape&, int segment);  ///< values a channel has in a segment: images * hw

/// Mean and biased variance per segment and channel; two passes or compensated, never E[x^2]-E[x]^2 in f32.
struct BatchNormStatisticsArgs {
  const void* x;
  float* mean;      ///< [segments][c], overwritten
  float* variance;  ///< [segments][c], biased (divided by the count), overwritten
  void* workspace;
};

/// y = (x - mean) * inv_std * scale + shift, inv_std = 1/sqrt(variance + epsilon); also evaluation's operator, with
/// running statistics.
struct BatchNormNormalizeArgs {
  const void* x;
  const float* mean;      ///< [segments][c]
  const float* variance;  ///< [segments][c]
  const float* scale[RTFQ_MAX_SEGMENTS];  ///< [c] each
  const float* shift[RTFQ_MAX_SEGMENTS];
  void* y;    ///< may be x
  bool relu;  ///< max(y, 0)
};

/// sum_g = sum g, sum_gx = sum g*xhat per segment and channel, xhat = (x - mean)*inv_std: the gradients of shift and
/// scale.
struct BatchNormReduceArgs {
  const void* x;
  const void* g;
  const float* mean;
  const float* variance;
  float* sum_g;   ///< [segments][c], overwritten
  float* sum_gx;  ///< [segments][c], overwritten
  void* workspace;
};

/// dx = scale * inv_std * (g - sum_g/m - xhat * sum_gx/m), m = `counts` of the segment over all ranks.
struct BatchNormApplyArgs {
  const void* x;
  const void* g;
  const float* mean;
  const float* variance;
  const float* sum_g;
  const float* sum_gx;
  const float* scale[RTFQ_MAX_SEGMENTS];
  float counts[RTFQ_MAX_SEGMENTS];
  void* dx;  ///< may be g
};

RTFQ_CUDA_OPERATOR(BatchNormStatistics, "batchnorm.statistics", BatchNormShape, BatchNormStatisticsArgs);
RTFQ_CUDA_OPERATOR(BatchNormNormalize, "batchnorm.normalize", BatchNormShape, BatchNormNormalizeArgs);
RTFQ_CUDA_OPERATOR(BatchNormReduce, "batchnorm.reduce", BatchNormShape, BatchNormReduceArgs);
RTFQ_CUDA_OPERATOR(BatchNormApply, "batchnorm.apply", BatchNormShape, BatchNormApplyArgs);

Cost cost(const BatchNormStatistics&, const BatchNormShape&);
Cost cost(const BatchNormNormalize&, const BatchNormShape&);
Cost cost(const BatchNormReduce&, const BatchNormShape&);
Cost cost(const BatchNormApply&, const BatchNormShape&);

}  // namespace rtfq::kernels
