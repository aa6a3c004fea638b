// Half precision's conversions against the processor's own: every value to f32; to f16 every upper half with
// the lower halves around what decides a rounding.
#include "kernels/f16.h"

#include <immintrin.h>

#include <array>
#include <catch2/catch.hpp>
#include <limits>

using namespace rtfq::kernels;

TEST_CASE("f16: every value is the processor's in f32") {
  std::size_t wrong = 0;
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float found = to_float(f16{static_cast<uint16_t>(bits)});
    const float expected = _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(static_cast<int>(bits))));
    if (expected != expected)  // the instruction makes every NaN quiet
      wrong += found == found || (std::bit_cast<uint32_t>(found) ^ std::bit_cast<uint32_t>(expected)) >> 31;
    else
      wrong += std::bit_cast<uint32_t>(found) != std::bit_cast<uint32_t>(expected);
  }
  CHECK(wrong == 0);
}

TEST_CASE("f16: rounds as the processor does") {
  constexpr int nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  // f16 keeps 10 bits of a fraction's 23: ties are at 0x1000 of the lower 13, and denormals' at higher bits.
  constexpr std::array<uint32_t, 13> low_halves{0,      1,      0x0fff, 0x1000, 0x1001, 0x1fff, 0x2000,
                                                0x3000, 0x5000, 0x7fff, 0x8000, 0x9000, 0xffff};
  std::size_t wrong = 0;
  for (uint32_t high = 0; high < 0x10000; ++high)
    for (const uint32_t low : low_halves) {
      const float x = std::bit_cast<float>(high << 16 | low);
      const auto expected = static_cast<uint16_t>(_mm_cvtsi128_si32(_mm_cvtps_ph(_mm_set_ss(x), nearest)));
      wrong += to_f16(x).bits != expected;
    }
  CHECK(wrong == 0);
  CHECK(to_float(to_f16(65519.0f)) == 65504.0f);
  CHECK(to_float(to_f16(65520.0f)) == std::numeric_limits<float>::infinity());
  CHECK(to_float(to_f16(0x1p-24f)) == 0x1p-24f);
  CHECK(to_f16(0x1p-25f).bits == 0);  // halfway to the least: zero is even
}
