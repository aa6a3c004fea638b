#include "data/hash.h"

#include <bit>
#include <cstring>

namespace rtfq::data {
namespace {

uint64_t mixed(uint64_t state, uint64_t word) {
  state = (state ^ word) * 0x9E3779B97F4A7C15u;
  return state ^ (state >> 29);
}

}  // namespace

uint64_t checksum(const void* data, size_t size) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  // Four chains side by side: one multiplication has to wait for the one before it.
  uint64_t lanes[4] = {size, ~size, size << 32, 1};
  size_t at = 0;
  for (; size - at >= 32; at += 32) {
    uint64_t words[4];
    std::memcpy(words, bytes + at, 32);
    for (int i = 0; i < 4; ++i) lanes[i] = mixed(lanes[i], words[i]);
  }
  for (; at < size; ++at) lanes[at % 4] = mixed(lanes[at % 4], bytes[at]);
  uint64_t out = 0;
  for (const uint64_t lane : lanes) out = mixed(std::rotl(out, 23), lane);
  return out;
}

}  // namespace rtfq::data
