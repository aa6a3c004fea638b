// Row after row is added to one row of 32-bit sums, so that whole vectors are read whatever h*w is. Reads a
// byte an element; the sums of 2048 channels take 8 KB and stay in the first-level cache.
#include "kernels/cpu/pool_codes.h"

#include <algorithm>

namespace rtfq::kernels::cpu {

const char* average_codes_unsupported(const PoolShape& s) {
  if (s.type != RTFQ_U8) return "takes u8 codes only";
  return s.h * s.w > (int64_t{1} << 23) ? "sums of this many codes do not fit in 32 bits" : nullptr;
}

void average_codes(const PoolShape& s, const AveragePoolForwardArgs& a, Stream) {
  constexpr int64_t tile = 512;  // channels at a time: the sums are on the stack
  const auto* x = static_cast<const uint8_t*>(a.x);
  auto* y = static_cast<float*>(a.y);
  const int64_t hw = s.h * s.w;
  const auto divisor = static_cast<float>(hw);
#pragma omp parallel for collapse(2) schedule(static)
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t first = 0; first < s.c; first += tile) {
      const int64_t channels = std::min(tile, s.c - first);
      int32_t sums[tile] = {};
      for (int64_t i = 0; i < hw; ++i) {
        const uint8_t* row = x + (n * hw + i) * s.c + first;
        for (int64_t c = 0; c < channels; ++c) sums[c] += row[c];
      }
      float* to = y + n * s.c + first;
      for (int64_t c = 0; c < channels; ++c) to[c] = static_cast<float>(sums[c]) / divisor;
      if (a.scale)
        for (int64_t c = 0; c < channels; ++c) to[c] *= a.scale[0];
    }
}

}  // namespace rtfq::kernels::cpu
