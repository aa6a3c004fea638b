#include "models/packed/codes.h"

#include <cstring>
#include <stdexcept>
#include <string>

namespace rtfq::packed {
namespace {

void require_bits(int bits) {
  if (bits < 2 || bits > 8)
    throw std::invalid_argument("[packed] codes have 2 to 8 bits, not " + std::to_string(bits));
}

}  // namespace

std::vector<unsigned char> pack_codes(std::span<const int8_t> codes, int bits) {
  require_bits(bits);
  std::vector<unsigned char> bytes;
  bytes.reserve(code_bytes(codes.size(), bits));
  const int low = -(1 << (bits - 1)), high = (1 << (bits - 1)) - 1;
  uint32_t pending = 0;
  int filled = 0;
  for (const int8_t code : codes) {
    if (code < low || code > high)
      throw std::invalid_argument("[packed] the code " + std::to_string(code) + " does not fit in " +
                                  std::to_string(bits) + " bits");
    pending |= (static_cast<uint32_t>(code) & ((1u << bits) - 1)) << filled;
    for (filled += bits; filled >= 8; filled -= 8, pending >>= 8)
      bytes.push_back(static_cast<unsigned char>(pending));
  }
  if (filled) bytes.push_back(static_cast<unsigned char>(pending));
  return bytes;
}

void unpack_codes(std::span<const unsigned char> bytes, int bits, std::span<int8_t> codes) {
  require_bits(bits);
  if (bytes.size() != code_bytes(codes.size(), bits))
    throw std::invalid_argument(
        "[packed] " + std::to_string(codes.size()) + " codes of " + std::to_string(bits) + " bits take " +
        std::to_string(code_bytes(codes.size(), bits)) + " bytes, got " + std::to_string(bytes.size()));
  if (bits == 8) {
    if (!codes.empty()) std::memcpy(codes.data(), bytes.data(), codes.size());
    return;
  }
  uint32_t pending = 0;
  int filled = 0;
  std::size_t at = 0;
  for (int8_t& code : codes) {
    if (filled < bits) {
      pending |= uint32_t{bytes[at++]} << filled;
      filled += 8;
    }
    // The sign bit goes to the top and comes back down with copies of itself.
    code = static_cast<int8_t>(static_cast<int32_t>(pending << (32 - bits)) >> (32 - bits));
    pending >>= bits;
    filled -= bits;
  }
}

}  // namespace rtfq::packed
