#pragma once
#include <cstddef>
#include <cstdint>

namespace rtfq::data {

/// 64 bits that differ for bytes that differ by accident; no protection against intent.
uint64_t checksum(const void* bytes, size_t size);

}  // namespace rtfq::data
