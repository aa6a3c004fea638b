#pragma once
// IEEE 754's half precision. Only a format for storage, as kernels/bf16.h is: arithmetic is f32, and a result
// is rounded once, when it is stored.

#include <bit>
#include <cstdint>

namespace rtfq::kernels {

/// One value as memory holds it: a sign, 5 bits of exponent, 10 of fraction.
struct f16 {
  uint16_t bits;
};
static_assert(sizeof(f16) == 2);

/// Exact.
inline float to_float(f16 x) {
  const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000u) << 16, rest = x.bits & 0x7fffu;
  if (rest >= 0x7c00u) return std::bit_cast<float>(sign | rest << 13 | 0x7f800000u);  // infinities, NaNs
  if (rest >= 0x0400u) return std::bit_cast<float>(sign | ((rest << 13) + (112u << 23)));
  const float magnitude = static_cast<float>(rest) * 0x1p-24f;  // denormals and zeros
  return sign ? -magnitude : magnitude;
}

/// The nearest value, ties to even: from 65,520 on infinity, denormals are kept, a NaN stays one (made quiet,
/// its sign and upper payload kept).
inline f16 to_f16(float x) {
  const auto all = std::bit_cast<uint32_t>(x);
  const uint32_t sign = all >> 16 & 0x8000u, rest = all & 0x7fffffffu;
  uint32_t bits;
  if (rest > 0x7f800000u)
    bits = 0x7e00u | (rest >> 13 & 0x3ffu);
  else if (rest >= 0x477ff000u)
    bits = 0x7c00u;
  else if (rest < 0x38800000u)  // below 2^-14 values lie 2^-24 apart, as the sum's do
    bits = std::bit_cast<uint32_t>(std::bit_cast<float>(rest) + 0.5f) - 0x3f000000u;
  else
    bits = (rest - (112u << 23) + 0xfffu + (rest >> 13 & 1u)) >> 13;
  return {static_cast<uint16_t>(sign | bits)};
}

}  // namespace rtfq::kernels
