#pragma once
// What the fused convolution makes of its sums, as template arguments: the forms that a shape asks for.

#include "kernels/convquant.h"
#include "kernels/cpu/normquant_element.h"

namespace rtfq::kernels::cpu {

/// Read and written for each output, besides x and weights.
template <bool quantized, rtfq_residual residual, rtfq_identity identity>
constexpr int64_t output_bytes_of() {
  constexpr int64_t of_residual[] = {0, 4, 1, 0}, of_identity[] = {0, 1, 4};
  return (quantized ? 1 : 4) + of_residual[residual] + of_identity[identity];
}

/// run(Finish) with the one that a shape asks for.
template <template <bool, rtfq_residual, rtfq_identity> class Finish, class Run>
static void with_finish(const ConvQuantShape& s, const ConvQuantArgs& a, const Run& run) {
  if (!s.quantized) return run(Finish<false, RTFQ_RESIDUAL_NONE, RTFQ_IDENTITY_NONE>(s, a));
  with_residual(s.residual, [&](auto residual) {
    with_identity(s.identity, [&](auto identity) { run(Finish<true, residual(), identity()>(s, a)); });
  });
}

}  // namespace rtfq::kernels::cpu
