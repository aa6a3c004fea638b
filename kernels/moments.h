#pragma once
// Statistics of a batch normalization as sums that several ranks can add, and back.

#include "kernels/batchnorm.h"
#include "kernels/operator.h"

namespace rtfq::kernels {

/// `c` channels in each of `segments`; statistics are [segments, c].
struct MomentsShape {
  int64_t segments, c;
};

/// In f64: sums[0][s][j] = n mean, sums[1][s][j] = n (variance + mean*mean), with n = counts[s].
struct BatchMomentsArgs {
  const float* mean;
  const float* variance;  ///< biased
  double counts[RTFQ_MAX_SEGMENTS];
  double* sums;  ///< [2, segments, c]
};

/// In f64, rounded once: mean = sums[0] / n, variance = sums[1] / n - (sums[0] / n)^2, zero where that is
/// negative. What cancels
/// in the difference is of the order of 2^-53 mean^2, less than the rounding of the batch to f32 has left of
/// the variance as long as the mean is below 10^8 standard deviations.
struct JointStatisticsArgs {
  const double* sums;                ///< [2, segments, c], of all ranks
  double counts[RTFQ_MAX_SEGMENTS];  ///< the same
  float* mean;
  float* variance;
};

RTFQ_CUDA_OPERATOR(BatchMoments, "batchnorm.moments", MomentsShape, BatchMomentsArgs);
RTFQ_CUDA_OPERATOR(JointStatistics, "batchnorm.joint", MomentsShape, JointStatisticsArgs);

Cost cost(const BatchMoments&, const MomentsShape&);
Cost cost(const JointStatistics&, const MomentsShape&);

}  // namespace rtfq::kernels
