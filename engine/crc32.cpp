#include "engine/crc32.h"

#include <zlib.h>

namespace rtfq {

uint32_t crc32(const void* data, std::size_t bytes) {
  return static_cast<uint32_t>(::crc32_z(0, static_cast<const unsigned char*>(data), bytes));
}

}  // namespace rtfq
