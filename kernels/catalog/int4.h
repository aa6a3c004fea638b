#pragma once
// Problems of 4-bit storage on any shape.

#include "kernels/catalog/conv2d_reference.h"
#include "kernels/catalog/fakequant_problem.h"
#include "kernels/int4.h"

namespace rtfq::kernels::catalog {

struct Int4Convolution {
  Conv2dCase conv;
  rtfq_dtype x = RTFQ_U8, y = RTFQ_F32;
  bool extreme = false;  ///< mostly the ends of the codes' ranges
  bool large = false;
  bool reference = true;               ///< false: nothing is expected of the outputs
  std::vector<std::size_t> sampled{};  ///< these elements alone are computed; empty: all
};

/// Codes that fake-quant's case gives, two a byte.
std::unique_ptr<Problem<Int4Quantize>> int4_quantize_problem(const quantizer::Case&, const Contract& = {});
std::unique_ptr<Problem<Conv2dInt4>> int4_conv2d_problem(const Int4Convolution&, const Contract& = {});

}  // namespace rtfq::kernels::catalog
