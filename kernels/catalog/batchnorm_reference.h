#pragma once
// Batch normalization in fp64, from the formulas of kernels/batchnorm.h. Its gradient is checked by finite
// differences in tests/kernels.

#include <vector>

#include "kernels/batchnorm.h"

namespace rtfq::kernels::catalog::reference {

using Values = std::vector<double>;

/// Per-segment values [segments][c].
struct BatchNormMoments {
  Values mean, variance;
};
BatchNormMoments batchnorm_statistics(const BatchNormShape&, const Values& x);

/// scale and shift: [segments][c].
Values batchnorm_normalize(const BatchNormShape&, const Values& x, const BatchNormMoments&,
                           const Values& scale, const Values& shift);

struct BatchNormSums {
  Values sum_g, sum_gx;
};
BatchNormSums batchnorm_reduce(const BatchNormShape&, const Values& x, const Values& g,
                               const BatchNormMoments&);

/// counts: one value a segment.
Values batchnorm_apply(const BatchNormShape&, const Values& x, const Values& g, const BatchNormMoments&,
                       const BatchNormSums&, const Values& scale, const Values& counts);

}  // namespace rtfq::kernels::catalog::reference
