#pragma once
// The fused norm and quantizers in fp64. What decides a code is rounded to f32 where the contract says so
// (kernels/ batchnorm.h, kernels/fakequant.h); everything after z is fp64.

#include <vector>

#include "kernels/catalog/rounding.h"
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

/// z in fp64, and how far from it a sum in f32 may be in whatever order it is made: 2^-21 of its terms, which
/// is seven roundings.
struct ExactSum {
  double z, reach;
};
std::vector<ExactSum> normquant_exact(const NormQuantProblem&);

/// Codes in [0, qp] of each z as the contract rounds them, and what other orders of roundings may make of
/// them; `exact` may be empty: nothing else.
struct Codes {
  Values codes, neighbours;
};
Codes normquant_codes(const std::vector<float>& z, const std::vector<ExactSum>& exact, float step, int32_t qp,
                      const Contract& = {});

struct NormQuantGradients {
  std::vector<float> g_z;  ///< as stored, or in f32 where it is not
  Values sum_g, sum_gx, other_sum_gx;
  double ds = 0, identity_ds = 0;                ///< without their scales
  double ds_weight = 0, identity_ds_weight = 0;  ///< sums of the terms' magnitudes
  /// What elements next to a tie or a border may be or add instead; empty and zero without `exact`.
  std::vector<float> g_z_neighbours;
  double near_g = 0, near_ds = 0, near_identity_ds = 0;  ///< near_g: of both kinds of sums
};
NormQuantGradients normquant_reduce(const NormQuantProblem&, const std::vector<float>& z,
                                    const std::vector<ExactSum>& exact = {}, const Contract& = {});

/// dx of one norm for these sums.
Values normquant_apply(const BatchNormShape&, const NormOperands&, const std::vector<float>& g_z,
                       const Values& sum_g, const Values& sum_gx, const Values& counts);

}  // namespace rtfq::kernels::catalog::reference
