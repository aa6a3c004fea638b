#pragma once
#include <cstddef>
#include <cstdint>

namespace rtfq {

/// CRC-32 as zip, PNG and gzip use it (ISO 3309, polynomial 0xEDB88320 reflected).
uint32_t crc32(const void* data, std::size_t bytes);

}  // namespace rtfq
