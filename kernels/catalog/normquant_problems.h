#pragma once
// Problems of the fused norm and quantizers: operands in their type, expectations from the fp64 reference.

#include <string>
#include <vector>

#include "kernels/catalog/catalog.h"
#include "kernels/normquant.h"

namespace rtfq::kernels::catalog::normquant {

/// Where a result takes an operand's place.
enum class Place { own, of_g_codes, of_g_identity, of_g_z };

struct Case {
  std::string name;
  int64_t hw, c;
  std::vector<int64_t> ends;
  rtfq_residual residual = RTFQ_RESIDUAL_NONE;
  rtfq_identity identity = RTFQ_IDENTITY_NONE;
  rtfq_dtype type = RTFQ_F32;
  bool random = false;
  bool g_codes = true, g_identity = true, stores_g_z = true, wants_ds = true;
  Place place = Place::own;
  int32_t qp = 15;
  bool large = false;
  bool zeros = false;                                 ///< x and the gradients
  std::shared_ptr<const std::vector<float>> given{};  ///< x itself, repeated to its size
  float step = 0;                                     ///< 0: 0.25, of random data 0.173
  bool reference = true;                              ///< false: nothing is expected of the outputs
  double sums = 1;  ///< by which the tolerance of random sums over all rows is multiplied
};

std::unique_ptr<Problem<NormQuantForward>> forward(const Case&, const Contract& = {});
std::unique_ptr<Problem<NormQuantReduce>> reduce(const Case&, const Contract& = {});
std::unique_ptr<Problem<NormQuantApply>> apply(const Case&, const Contract& = {});

}  // namespace rtfq::kernels::catalog::normquant
