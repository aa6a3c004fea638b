#pragma once
// Running statistics of a batch normalization, and the gradients of its scale and shift: what follows a
// batch's own figures without anybody reading them.

#include "kernels/operator.h"

namespace rtfq::kernels {

struct RunningShape {
  int64_t c;
};

/// In f64, rounded once:
///   shift = batch_mean - mean
///   variance = (1-weight)*variance + weight*unbiased*batch_variance + between*shift*shift
///   mean = mean + weight*shift
struct RunningStatisticsArgs {
  float* mean;      ///< [c], updated
  float* variance;  ///< [c], updated
  const float* batch_mean;
  const float* batch_variance;  ///< biased
  double weight, unbiased, between;
};

struct AccumulateTensor {
  float* into;
  const float* values;
  int64_t count;
};
struct AccumulateShape {
  int64_t total;  ///< elements of all tensors, for the declared cost
};

/// into += values, for many tensors in one launch; no two of them overlap.
struct AccumulateArgs {
  std::span<const AccumulateTensor> tensors;
};

RTFQ_CUDA_OPERATOR(RunningStatistics, "batchnorm.running", RunningShape, RunningStatisticsArgs);
RTFQ_CUDA_OPERATOR(Accumulate, "accumulate", AccumulateShape, AccumulateArgs);

Cost cost(const RunningStatistics&, const RunningShape&);
Cost cost(const Accumulate&, const AccumulateShape&);

}  // namespace rtfq::kernels
