#pragma once
// Weight codes at their true width: two's complement of `bits` bits, one after the other, the lowest bit
// first. So 4-bit codes lie two in a byte, the low nibble first, and 6-bit codes four in three bytes
// (docs/format.md).

#include <cstdint>
#include <span>
#include <vector>

namespace rtfq::packed {

/// Bytes of `count` codes; the last byte's unused bits are zero.
constexpr uint64_t code_bytes(uint64_t count, int bits) {
  return (count * static_cast<uint64_t>(bits) + 7) / 8;
}

/// Throws std::invalid_argument for bits outside 2..8 and for a code that does not fit in them.
std::vector<unsigned char> pack_codes(std::span<const int8_t> codes, int bits);

/// `bytes` holds code_bytes(codes.size(), bits). Throws std::invalid_argument otherwise.
void unpack_codes(std::span<const unsigned char> bytes, int bits, std::span<int8_t> codes);

}  // namespace rtfq::packed
