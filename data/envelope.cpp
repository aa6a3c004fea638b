#include "data/envelope.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

namespace rtfq::data {
namespace {

constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value & 1) ? 0xEDB88320u ^ (value >> 1) : value >> 1;
    table[i] = value;
  }
  return table;
}
constexpr auto crc_table = make_crc_table();

uint32_t crc32(const uint8_t* bytes, size_t size) {
  uint32_t crc = 0xFFFFFFFFu;
  for (size_t i = 0; i < size; ++i) crc = crc_table[(crc ^ bytes[i]) & 0xFF] ^ (crc >> 8);
  return ~crc;
}

uint32_t big_endian(const uint8_t* p) {
  return (uint32_t{p[0]} << 24) | (uint32_t{p[1]} << 16) | (uint32_t{p[2]} << 8) | uint32_t{p[3]};
}

bool starts(const uint8_t* bytes, size_t size, const char* magic, size_t length) {
  return size >= length && std::memcmp(bytes, magic, length) == 0;
}

constexpr const char* unknown_frame =
    "damaged or unsupported: no frame header of a baseline or progressive image";

/// The parts of a JPEG that scans refer to. Decoders use tables that were never defined, and show components
/// that no scan brought, as whatever their memory holds.
class JpegFrame {
 public:
  /// `body`: a segment without its length. Empty, or what is wrong with it.
  std::string segment(uint8_t marker, const uint8_t* body, size_t length) {
    // Arithmetic coding and the like: some decoders know it, with dimensions that we would not have seen.
    if (marker >= 0xC3 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC)
      return unknown_frame;
    switch (marker) {
      case 0xC4:
        return huffman_tables(body, length) ? "" : "damaged: impossible Huffman tables";
      case 0xDB:
        return quantization_tables(body, length) ? "" : "damaged: impossible quantization tables";
      case 0xC0:
      case 0xC1:
      case 0xC2:
        return header(body, length, marker == 0xC2) ? "" : "damaged: impossible frame header";
      case 0xDA:
        return scan(body, length);
      default:
        return {};
    }
  }

  std::string end() const {
    if (count_ == 0) return unknown_frame;
    return scanned_ == (1u << count_) - 1 ? "" : "damaged: a component of the image has no scan";
  }

 private:
  struct Component {
    uint8_t id, table;
  };

  /// No table of 8-bit images has more than 162 codes. Decoders have overrun their buffers beyond 256, and
  /// 256 itself is one too many for an index that keeps a byte value for "none".
  bool huffman_tables(const uint8_t* body, size_t length) {
    while (length > 0) {
      if (length < 17 || body[0] >> 4 > 1 || (body[0] & 15) > 3) return false;
      size_t codes = 0;
      for (size_t i = 1; i <= 16; ++i) codes += body[i];
      if (codes > 255 || length - 17 < codes) return false;
      (body[0] >> 4 ? ac_ : dc_) |= 1u << (body[0] & 15);
      body += 17 + codes;
      length -= 17 + codes;
    }
    return true;
  }

  bool quantization_tables(const uint8_t* body, size_t length) {
    while (length > 0) {
      const size_t size = body[0] >> 4 ? 129 : 65;
      if (length < size || body[0] >> 4 > 1 || (body[0] & 15) > 3) return false;
      quantizers_ |= 1u << (body[0] & 15);
      body += size;
      length -= size;
    }
    return true;
  }

  bool header(const uint8_t* body, size_t length, bool progressive) {
    if (count_ != 0 || length < 6 || body[5] < 1 || body[5] > 4 || length != 6 + size_t{3} * body[5])
      return false;
    progressive_ = progressive;
    count_ = body[5];
    for (size_t i = 0; i < count_; ++i) {
      components_[i] = {body[6 + 3 * i], body[8 + 3 * i]};
      if (components_[i].table > 3) return false;
    }
    return true;
  }

  std::string scan(const uint8_t* body, size_t length) {
    if (count_ == 0) return "damaged: a scan before the frame header";
    if (length < 6 || length != 4 + size_t{2} * body[0]) return "damaged: impossible scan header";
    const size_t n = body[0];
    const uint8_t* parameters = body + 1 + 2 * n;
    const bool starts = parameters[0] == 0, refines = parameters[2] >> 4 != 0;
    for (size_t i = 0; i < n; ++i) {
      const uint8_t id = body[1 + 2 * i], tables = body[2 + 2 * i];
      size_t which = 0;
      while (which < count_ && components_[which].id != id) ++which;
      if (which == count_) return "damaged: a scan of an unknown component";
      const bool needs_dc = starts && !refines, needs_ac = !progressive_ || !starts;
      if ((tables >> 4) > 3 || (tables & 15) > 3 || (needs_dc && !(dc_ >> (tables >> 4) & 1)) ||
          (needs_ac && !(ac_ >> (tables & 15) & 1)))
        return "damaged: a scan uses a Huffman table that is not defined";
      if (!(quantizers_ >> components_[which].table & 1))
        return "damaged: a scan uses a quantization table that is not defined";
      if (starts) scanned_ |= 1u << which;
    }
    return {};
  }

  bool progressive_ = false;
  unsigned dc_ = 0, ac_ = 0, quantizers_ = 0, scanned_ = 0;  ///< a bit for each table or component
  size_t count_ = 0;
  std::array<Component, 4> components_{};
};

/// The frame header of a JPEG without defect, from its precision on; null where there is none.
const uint8_t* frame_header(const uint8_t* bytes, size_t size) {
  for (size_t at = 2; at < size;) {
    while (at < size && bytes[at] != 0xFF) ++at;
    while (at < size && bytes[at] == 0xFF) ++at;
    if (size - at < 8) break;
    const uint8_t marker = bytes[at++];
    if (marker == 0x00 || marker == 0x01 || (marker >= 0xD0 && marker <= 0xD9)) continue;
    if (marker >= 0xC0 && marker <= 0xC2) return bytes + at + 2;
    at += (size_t{bytes[at]} << 8) | bytes[at + 1];
  }
  return nullptr;
}

std::string too_small(int64_t bytes, int64_t height, int64_t width) {
  return "damaged or unsupported: its " + std::to_string(bytes) + " bytes cannot hold " +
         std::to_string(width) + " x " + std::to_string(height) + " pixels";
}

}  // namespace

Format sniff(const uint8_t* bytes, size_t size) {
  // Four bytes of PNG's signature are enough: a shorter file is then a truncated image, not a foreign one.
  if (starts(bytes, size, "\x89PNG", 4)) return Format::png;
  if (starts(bytes, size, "\xFF\xD8", 2)) return Format::jpeg;
  if (size >= 3 && bytes[0] == 'P' && (bytes[1] == '5' || bytes[1] == '6') &&
      std::string_view(" \t\r\n#").find(static_cast<char>(bytes[2])) != std::string_view::npos)
    return Format::netpbm;
  return Format::other;
}

std::string describe_foreign(const uint8_t* bytes, size_t size) {
  if (starts(bytes, size, "GIF8", 4)) return "a GIF image";
  if (starts(bytes, size, "BM", 2)) return "a BMP image";
  if (starts(bytes, size, "II*\0", 4) || starts(bytes, size, "MM\0*", 4)) return "a TIFF image";
  if (size >= 12 && starts(bytes, size, "RIFF", 4) && std::memcmp(bytes + 8, "WEBP", 4) == 0)
    return "a WebP image";
  if (size >= 12 && std::memcmp(bytes + 4, "ftyp", 4) == 0) return "an AVIF, HEIF or MP4 file";
  if (size >= 2 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '7')
    return "another kind of netpbm file";
  const size_t head = std::min<size_t>(size, 512);
  const bool text =
      std::all_of(bytes, bytes + head, [](uint8_t c) { return c >= 32 || (c >= 8 && c <= 13); });
  return text ? "text" : "unknown data";
}

std::string png_defect(const uint8_t* bytes, size_t size) {
  size_t at = 8;
  if (size < at) return "truncated within the signature";
  for (;;) {
    if (size - at < 12) return "truncated: no IEND chunk";
    const uint32_t length = big_endian(bytes + at);
    if (length > 0x7FFFFFFFu) return "damaged: a chunk of impossible length";
    std::string type(reinterpret_cast<const char*>(bytes + at + 4), 4);
    for (char& c : type)
      if (c < 32 || c > 126) c = '?';
    if (size - at - 12 < length) return "truncated within chunk " + type;
    if (crc32(bytes + at + 4, size_t{length} + 4) != big_endian(bytes + at + 8 + length))
      return "damaged: wrong checksum of chunk " + type;
    if (at == 8 && (type != "IHDR" || length != 13)) return "damaged: no IHDR chunk at its start";
    if (type == "IEND") return {};
    at += size_t{length} + 12;
  }
}

std::pair<int64_t, int64_t> png_dimensions(const uint8_t* bytes) {
  return {big_endian(bytes + 20), big_endian(bytes + 16)};
}

std::pair<int64_t, int64_t> jpeg_dimensions(const uint8_t* bytes, size_t size) {
  const uint8_t* const body = frame_header(bytes, size);
  if (!body) return {0, 0};
  return {(body[1] << 8) | body[2], (body[3] << 8) | body[4]};
}

std::string png_shortage(const uint8_t* bytes, size_t size) {
  constexpr int64_t best_ratio = 1032;  // 258 bytes in the 2 bits of the shortest match
  constexpr std::array<int64_t, 7> channels{1, 0, 3, 1, 2, 0, 4};
  int64_t compressed = 0;
  for (size_t at = 8; size - at >= 12 && std::memcmp(bytes + at + 4, "IEND", 4) != 0;
       at += size_t{12} + big_endian(bytes + at))
    if (std::memcmp(bytes + at + 4, "IDAT", 4) == 0) compressed += big_endian(bytes + at);
  const auto [height, width] = png_dimensions(bytes);
  const int64_t depth = bytes[24], samples = bytes[25] < channels.size() ? channels[bytes[25]] : 0;
  // Impossible depths and colours are for the decoder to refuse.
  if (depth > 16 || height * width / 8 * depth * samples <= compressed * best_ratio) return {};
  return too_small(compressed, height, width);
}

std::string jpeg_shortage(const uint8_t* bytes, size_t size) {
  const auto [height, width] = jpeg_dimensions(bytes, size);
  const uint8_t* const body = frame_header(bytes, size);
  int64_t most_across = 1, most_down = 1, blocks = 0;
  for (int i = 0; i < body[5]; ++i) {
    most_across = std::max<int64_t>(most_across, body[7 + 3 * i] >> 4);
    most_down = std::max<int64_t>(most_down, body[7 + 3 * i] & 15);
  }
  for (int i = 0; i < body[5]; ++i)
    blocks += (width * (body[7 + 3 * i] >> 4) / most_across / 8) *
              (height * (body[7 + 3 * i] & 15) / most_down / 8);
  const auto bits = static_cast<int64_t>(size) * 8;
  return blocks <= bits ? std::string() : too_small(static_cast<int64_t>(size), height, width);
}

std::string jpeg_defect(const uint8_t* bytes, size_t size) {
  const std::string truncated = "truncated: no end-of-image marker";
  JpegFrame frame;
  size_t at = 2;
  for (;;) {
    // Entropy-coded data and padding are passed over; FF 00 and restart markers belong to the data.
    if (at < size) {
      const void* next = std::memchr(bytes + at, 0xFF, size - at);
      at = next ? static_cast<size_t>(static_cast<const uint8_t*>(next) - bytes) : size;
    }
    while (at < size && bytes[at] == 0xFF) ++at;
    if (at >= size) return truncated;
    const uint8_t marker = bytes[at++];
    if (marker == 0xD9) return frame.end();
    if (marker == 0x00 || marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8)) continue;
    if (size - at < 2) return truncated;
    const size_t length = (size_t{bytes[at]} << 8) | bytes[at + 1];
    if (length < 2) return "damaged: a segment of impossible length";
    if (size - at < length) return truncated;
    const std::string defect = frame.segment(marker, bytes + at + 2, length - 2);
    if (!defect.empty()) return defect;
    at += length;
  }
}

}  // namespace rtfq::data
