#pragma once
// The cases of the fused convolution, and its problem on any shape.

#include "kernels/catalog/catalog.h"
#include "kernels/catalog/conv2d_reference.h"
#include "kernels/convquant.h"

namespace rtfq::kernels::catalog {

struct ConvQuantCase {
  Conv2dCase conv;
  rtfq_dtype x = RTFQ_U8;
  bool quantized = true;
  rtfq_residual residual = RTFQ_RESIDUAL_NONE;
  rtfq_identity identity = RTFQ_IDENTITY_NONE;
  int32_t qp = 255;
  bool extreme = false;   ///< mostly the ends of the codes' ranges, so that sums are as large as they get
  int32_t x_qp = 255;     ///< no code of u8 is greater
  bool zeros = false;     ///< x
  bool reference = true;  ///< false: nothing is expected of the outputs
  std::vector<std::size_t> sampled{};  ///< these elements alone are computed; empty: all
};

std::unique_ptr<Problem<ConvQuantForward>> convquant_problem(const ConvQuantCase&, const Contract& = {});

std::vector<Entry> convquant_entries();

}  // namespace rtfq::kernels::catalog
