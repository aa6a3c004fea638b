// The published known answers of Philox4x32-10.
#include "kernels/philox.h"

#include <catch2/catch.hpp>

using rtfq::kernels::philox4x32;
using Words = std::array<uint32_t, 4>;

TEST_CASE("philox: the known answers of the published generator") {
  CHECK(philox4x32(0, 0, 0) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  const uint64_t ones = ~uint64_t{0};
  CHECK(philox4x32(ones, ones, ones) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  // The digits of pi; words in little-endian order, the key's low word first.
  CHECK(philox4x32(0x299f31d0a4093822, 0x85a308d3243f6a88, 0x0370734413198a2e) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("philox: a constant expression, in which every input word counts") {
  constexpr auto first = philox4x32(1, 2, 3);
  static_assert(first != philox4x32(1, 2, 4));
  for (int bit = 0; bit < 64; ++bit) {
    const uint64_t flip = uint64_t{1} << bit;
    INFO("bit " << bit);
    CHECK(philox4x32(1 ^ flip, 2, 3) != first);
    CHECK(philox4x32(1, 2 ^ flip, 3) != first);
    CHECK(philox4x32(1, 2, 3 ^ flip) != first);
  }
}
