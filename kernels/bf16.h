#pragma once
// bfloat16: the upper half of an f32. Only a format for storage: arithmetic is f32, and a result is rounded
// once, when it is stored.

#include <bit>
#include <cstdint>

namespace rtfq::kernels {

/// One value as memory holds it.
struct bf16 {
  uint16_t bits;
};
static_assert(sizeof(bf16) == 2);

/// Exact.
inline float to_float(bf16 x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16);
}

/// The nearest value, ties to even: what rounds beyond the greatest becomes infinite, denormals are kept, a
/// NaN stays one (made quiet, its sign and upper payload kept).
inline bf16 to_bf16(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  if (x != x) return {static_cast<uint16_t>(bits >> 16 | 0x40)};
  return {static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

}  // namespace rtfq::kernels
