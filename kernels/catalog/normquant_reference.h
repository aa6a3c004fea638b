#pragma once
// The fused norm and quantizers in fp64. What decides a code is rounded to f32 where the contract says so
// (kernels/ batchnorm.h, kernels/fakequant.h); everything after z is fp64.

#include <vector>

#include "kernels/normquant.h"

namespace rtfq::kernels::catalog::reference {

using Values = std::vector<double>;

/// One convolution's result and its norm; channels [segments][c].
struct NormOperands {
  std::vector<float> x, mean, variance, scale, shift;
};

struct NormQuantProblem {
  NormQuantShape shape;
  NormOperands main, other;
  std::vector<float> residual;          ///< RTFQ_RESIDUAL_VALUES
  std::vector<uint8_t> residual_codes;  ///< RTFQ_RESIDUAL_CODES
  float residual_step = 1, step = 1, identity_step = 1;
  std::vector<float> g_codes, g_identity;  ///< empty: null
  bool stores_g_z = true;
};

/// z in the contract's f32.
std::vector<float> normquant_sum(const NormQuantProblem&);

/// Codes in [0, qp] of each z, as the contract rounds them.
Values normquant_codes(const std::vector<float>& z, float step, int32_t qp);

struct NormQuantGradients {
  std::vector<float> g_z;  ///< as stored, or in f32 where it is not
  Values sum_g, sum_gx, other_sum_gx;
  double ds = 0, identity_ds = 0;                ///< without their scales
  double ds_weight = 0, identity_ds_weight = 0;  ///< sums of the terms' magnitudes
};
NormQuantGradients normquant_reduce(const NormQuantProblem&, const std::vector<float>& z);

/// dx of one norm for these sums.
Values normquant_apply(const BatchNormShape&, const NormOperands&, const std::vector<float>& g_z,
                       const Values& sum_g, const Values& sum_gx, const Values& counts);

}  // namespace rtfq::kernels::catalog::reference
