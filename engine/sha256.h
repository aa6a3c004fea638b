#pragma once
#include <cstddef>
#include <string>

namespace rtfq {

/// SHA-256 (FIPS 180-4) of bytes, as 64 hexadecimal digits.
std::string sha256(const void* data, std::size_t bytes);

}  // namespace rtfq
