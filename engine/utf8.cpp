#include "engine/utf8.h"

#include <cstddef>
#include <cstdint>

namespace rtfq {

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = [&](std::size_t at) {
      return static_cast<uint32_t>(static_cast<unsigned char>(text[at]));
    };
    const uint32_t lead = byte(i++);
    if (lead < 0x80) continue;
    const int more = lead >> 5 == 0x6 ? 1 : lead >> 4 == 0xE ? 2 : lead >> 3 == 0x1E ? 3 : 0;
    if (more == 0) return false;
    uint32_t point = lead & (0x3Fu >> more);
    for (int k = 0; k < more; ++k, ++i) {
      if (i == text.size() || byte(i) >> 6 != 0x2) return false;
      point = point << 6 | (byte(i) & 0x3F);
    }
    constexpr uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    if (point < least[more] || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000)) return false;
  }
  return true;
}

}  // namespace rtfq
