// bf16's rounding: the scalar against its definition, the vectors against the scalar, over every upper half
// and the lower halves around a tie.
#include "kernels/bf16.h"

#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/bf16.h"

using namespace rtfq::kernels;

namespace {

/// Low halves: exact, just above, below a tie, on it, just above it, just below the next value.
constexpr std::array<uint32_t, 6> low_halves{0, 1, 0x7fff, 0x8000, 0x8001, 0xffff};

std::vector<float> all_upper_halves(uint32_t low) {
  std::vector<float> x;
  for (uint32_t high = 0; high < 0x10000; ++high) x.push_back(std::bit_cast<float>(high << 16 | low));
  return x;
}

}  // namespace

TEST_CASE("bf16: rounds to the nearest, ties to even") {
  std::size_t wrong = 0;
  for (const uint32_t low : low_halves)
    for (const float x : all_upper_halves(low)) {
      const float found = to_float(to_bf16(x));
      if (std::isnan(x)) {
        wrong += !std::isnan(found) || std::signbit(found) != std::signbit(x);
        continue;
      }
      // The two neighbours in magnitude; beyond the greatest comes 2^128, which is stored as infinity.
      const auto bits = std::bit_cast<uint32_t>(x) & 0xffff0000;
      const auto value = [](uint32_t b) {
        const double v = std::bit_cast<float>(b);
        return std::isinf(v) ? std::copysign(0x1p128, v) : v;
      };
      const double below = value(bits), above = value(bits + 0x10000);
      if (std::isinf(x) || value(bits) == x) {
        wrong += found != x;
        continue;
      }
      const double to_below = std::abs(x - below), to_above = std::abs(above - x);
      const bool even = (bits >> 16 & 1) == 0;
      const double nearest = to_below < to_above || (to_below == to_above && even) ? below : above;
      wrong += (std::isinf(found) ? std::copysign(0x1p128, found) : static_cast<double>(found)) != nearest;
    }
  CHECK(wrong == 0);
  CHECK(std::isinf(to_float(to_bf16(std::numeric_limits<float>::max()))));
  CHECK(to_float(to_bf16(1.00390625f)) == 1.0f);       // halfway between 1 and 1 + 2^-7, 1 is even
  CHECK(to_float(to_bf16(1.01171875f)) == 1.015625f);  // halfway, the upper neighbour is even
}

TEST_CASE("bf16: vectors round like the scalar and load what was stored") {
  std::size_t wrong = 0;
  for (const uint32_t low : low_halves) {
    const auto x = all_upper_halves(low);
    std::vector<bf16> y(x.size());
    alignas(32) float back[8], rounded[8];
    for (std::size_t i = 0; i < x.size(); i += 8) {
      cpu::store8(y.data() + i, cpu::load8(x.data() + i));
      cpu::store8(back, cpu::load8(y.data() + i));
      cpu::store8(rounded, _mm256_castsi256_ps(cpu::round_to_bf16(cpu::load8(x.data() + i))));
      for (std::size_t j = 0; j < 8; ++j) {
        const bf16 expected = to_bf16(x[i + j]);
        const auto bits = std::bit_cast<uint32_t>(to_float(expected));
        wrong += y[i + j].bits != expected.bits;
        wrong += std::bit_cast<uint32_t>(back[j]) != bits || std::bit_cast<uint32_t>(rounded[j]) != bits;
      }
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("bf16: streamed stores write the same bits") {
  alignas(64) bf16 plain[16], streamed[16];
  alignas(32) float x[16];
  for (int i = 0; i < 16; ++i) x[i] = 0.1f * static_cast<float>(i * i) - 3.7f;
  for (int i = 0; i < 16; i += 8) {
    cpu::store8(plain + i, cpu::load8(x + i));
    cpu::store8<true>(streamed + i, cpu::load8(x + i));
  }
  cpu::finish_stores<true>();
  for (int i = 0; i < 16; ++i) CHECK(plain[i].bits == streamed[i].bits);
}
