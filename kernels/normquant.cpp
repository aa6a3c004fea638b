#include "kernels/normquant.h"

#include <stdexcept>
#include <string>

namespace rtfq::kernels {
namespace {

void require_bound(const char* what, int32_t bound) {
  if (bound < 1 || bound > 255)
    throw std::invalid_argument(std::string("[normquant] expected ") + what + " in [1, 255], got " +
                                std::to_string(bound) + ": codes are stored in 8 bits");
}

double elements(const NormQuantShape& s) {
  return static_cast<double>(s.norm.n) * static_cast<double>(s.norm.hw) * static_cast<double>(s.norm.c);
}

/// Bytes of an element of norm.type.
double value_bytes(const NormQuantShape& s) {
  return s.norm.type == RTFQ_BF16 ? 2 : 4;
}

double residual_bytes(const NormQuantShape& s) {
  return s.residual == RTFQ_RESIDUAL_NONE ? 0 : s.residual == RTFQ_RESIDUAL_CODES ? 1 : value_bytes(s);
}

/// Per-channel f32 arrays: `each` for every norm.
double channel_bytes(const NormQuantShape& s, int each) {
  const double norms = s.residual == RTFQ_RESIDUAL_NORM ? 2 : 1;
  return 4.0 * each * norms * s.norm.segments * static_cast<double>(s.norm.c);
}

/// Operations that make z: subtract and multiply-add for each norm, the residual's multiplication and sum.
double sum_operations(const NormQuantShape& s) {
  constexpr double of[] = {3, 4, 5, 7};
  return of[s.residual];
}

}  // namespace

NormQuantShape make_normquant_shape(const BatchNormShape& norm, rtfq_residual residual,
                                    rtfq_identity identity, int32_t qp, int32_t identity_qp) {
  require_bound("qp", qp);
  require_bound("identity_qp", identity_qp);
  return {norm, residual, identity, qp, identity_qp};
}

// A code: multiply, two clamps, round. max(z, 0): one.
Cost cost(const NormQuantForward&, const NormQuantShape& s) {
  constexpr double operations[] = {0, 4, 1};
  const double identity = s.identity == RTFQ_IDENTITY_NONE    ? 0
                          : s.identity == RTFQ_IDENTITY_CODES ? 1
                                                              : value_bytes(s);
  return {elements(s) * (value_bytes(s) + residual_bytes(s) + 1 + identity) + channel_bytes(s, 4),
          elements(s) * (sum_operations(s) + 4 + operations[s.identity])};
}

// Both gradients where there are two, and g_z stored where there is a residual. A quantizer's gradient:
// multiply, two comparisons, round, subtract, multiply-add; the sums: add and multiply-add.
Cost cost(const NormQuantReduce&, const NormQuantShape& s) {
  const double gradients = s.identity == RTFQ_IDENTITY_NONE ? 1 : 2,
               stored = s.residual == RTFQ_RESIDUAL_NONE ? 0 : 1;
  constexpr double operations[] = {0, 8, 2};
  return {elements(s) * (value_bytes(s) * (1 + gradients + stored) + residual_bytes(s)) + channel_bytes(s, 6),
          elements(s) *
              (sum_operations(s) + 7 + operations[s.identity] + (s.residual == RTFQ_RESIDUAL_NORM ? 5 : 3))};
}

// With a residual from the stored g_z, without one from the gradients and z made again. Subtract,
// multiply-add, subtract and multiply for each norm.
Cost cost(const NormQuantApply&, const NormQuantShape& s) {
  const bool stored = s.residual != RTFQ_RESIDUAL_NONE;
  const double norms = s.residual == RTFQ_RESIDUAL_NORM ? 2 : 1;
  const double gradients = stored || s.identity == RTFQ_IDENTITY_NONE ? 1 : 2;
  const double again = stored ? 0 : sum_operations(s) + 3 + (s.identity == RTFQ_IDENTITY_NONE ? 0 : 4);
  return {elements(s) * value_bytes(s) * (2 * norms + gradients) + channel_bytes(s, stored ? 5 : 6),
          elements(s) * (5 * norms + again)};
}

}  // namespace rtfq::kernels
