#include "kernels/tf32.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

using namespace rtfq::kernels;

TEST_CASE("tf32: the nearest value with 10 bits of fraction, ties away from zero") {
  CHECK(round_to_tf32(0.0f) == 0.0f);
  CHECK(std::signbit(round_to_tf32(-0.0f)));
  CHECK(round_to_tf32(1 + 0x1p-10f) == 1 + 0x1p-10f);
  CHECK(round_to_tf32(1 + 0x1p-11f) == 1 + 0x1p-10f);  // a tie
  CHECK(round_to_tf32(-1 - 0x1p-11f) == -1 - 0x1p-10f);
  CHECK(round_to_tf32(1 + 0x1p-11f - 0x1p-23f) == 1.0f);
  CHECK(round_to_tf32(1 + 0x3p-11f) == 1 + 0x1p-9f);  // a tie whose even neighbour is the same
  CHECK(round_to_tf32(2 - 0x1p-23f) == 2.0f);
  CHECK(round_to_tf32(0x1p-149f) == 0.0f);
  CHECK(round_to_tf32(0x1p-137f) == 0x1p-136f);  // denormals are no exception
  constexpr float infinity = std::numeric_limits<float>::infinity();
  CHECK(round_to_tf32(std::numeric_limits<float>::max()) == infinity);
  CHECK(round_to_tf32(-infinity) == -infinity);
  CHECK(std::isnan(round_to_tf32(std::numeric_limits<float>::quiet_NaN())));
}

TEST_CASE("tf32: a scope puts back what was allowed before") {
  REQUIRE_FALSE(tf32_allowed());
  {
    const ScopedTf32 outer(true);
    CHECK(tf32_allowed());
    const ScopedTf32 inner(false);
    CHECK_FALSE(tf32_allowed());
  }
  CHECK_FALSE(tf32_allowed());
}
