#include "kernels/convquant.h"

#include <stdexcept>
#include <string>

namespace rtfq::kernels {
namespace {

void require_bound(const char* what, int32_t bound) {
  if (bound < 1 || bound > 255)
    throw std::invalid_argument(std::string("[convquant] expected ") + what + " in [1, 255], got " +
                                std::to_string(bound) + ": codes are stored in 8 bits");
}

}  // namespace

ConvQuantShape make_convquant_shape(const Conv2dShape& conv) {
  if ((conv.x_type != RTFQ_U8 && conv.x_type != RTFQ_S8) || conv.w_type != RTFQ_S8 || conv.y_type != RTFQ_F32)
    throw std::invalid_argument("[convquant] expected u8 or s8 codes, s8 weights and f32 results, got " +
                                std::string(type_name(conv.x_type)) + ", " + type_name(conv.w_type) + ", " +
                                type_name(conv.y_type) + ": use with_types");
  return {conv, false, RTFQ_RESIDUAL_NONE, RTFQ_IDENTITY_NONE, 255, 255};
}

ConvQuantShape make_convquant_shape(const Conv2dShape& conv, rtfq_residual residual, rtfq_identity identity,
                                    int32_t qp, int32_t identity_qp) {
  ConvQuantShape s = make_convquant_shape(conv);
  require_bound("qp", qp);
  require_bound("identity_qp", identity_qp);
  if (residual == RTFQ_RESIDUAL_NORM)
    throw std::invalid_argument(
        "[convquant] a residual with a norm of its own is not read here: compute its z, and add that as "
        "values");
  s.quantized = true;
  s.residual = residual;
  s.identity = identity;
  s.qp = qp;
  s.identity_qp = identity_qp;
  return s;
}

ConvQuantShape with_input_bound(ConvQuantShape s, int32_t x_qp) {
  require_bound("x_qp", x_qp);
  s.x_qp = x_qp;
  return s;
}

// Each operand once. An output: product, difference, multiply-add; residual; four for a code, one for a
// maximum.
Cost cost(const ConvQuantForward&, const ConvQuantShape& s) {
  const Cost conv = cost(Conv2dForward{}, s.conv);
  const double outputs = static_cast<double>(s.conv.n) * static_cast<double>(output_height(s.conv)) *
                         static_cast<double>(output_width(s.conv)) * static_cast<double>(s.conv.k);
  constexpr double residual_bytes[] = {0, 4, 1}, residual_operations[] = {0, 1, 2},
                   identity_bytes[] = {0, 1, 4}, identity_operations[] = {0, 4, 1};
  const double stored = (s.quantized ? 1 : 4) + residual_bytes[s.residual] + identity_bytes[s.identity];
  return {conv.bytes + outputs * (stored - 4) + 12.0 * static_cast<double>(s.conv.k),
          conv.operations + outputs * (3 + residual_operations[s.residual] + (s.quantized ? 4 : 0) +
                                       identity_operations[s.identity])};
}

}  // namespace rtfq::kernels
