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

/// What pixels of a tile will read and write besides x and weights, into the cache while their products are
/// computed: `channels` from `first` on. outputs[i]: a pixel's place among the output's.
template <bool quantized, rtfq_residual residual>
RTFQ_INLINE void fetch_outputs(const ConvQuantArgs& a, int64_t k, const int64_t* outputs, int64_t pixels,
                               int64_t first, int64_t channels) {
  constexpr int64_t size = quantized ? 1 : 4;
  for (int64_t i = 0; i < pixels; ++i) {
    const int64_t at = outputs[i] * k + first;
    if constexpr (residual == RTFQ_RESIDUAL_CODES)
      if (a.residual != a.y) _mm_prefetch(static_cast<const uint8_t*>(a.residual) + at, _MM_HINT_T0);
    if constexpr (residual == RTFQ_RESIDUAL_VALUES)
      for (int64_t c = 0; c < channels; c += 16)
        _mm_prefetch(static_cast<const float*>(a.residual) + at + c, _MM_HINT_T0);
    __builtin_prefetch(static_cast<const uint8_t*>(a.y) + size * at, 1);
  }
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
