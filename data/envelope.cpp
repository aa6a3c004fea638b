#include "data/envelope.h"

#include <algorithm>
#include <array>
#include <cstring>

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

/// A table may have 256 codes at most; decoders have overrun their buffers where a file claims more.
bool huffman_tables_fit(const uint8_t* body, size_t length) {
  while (length > 0) {
    if (length < 17) return false;
    size_t codes = 0;
    for (size_t i = 1; i <= 16; ++i) codes += body[i];
    if (codes > 256 || length - 17 < codes) return false;
    body += 17 + codes;
    length -= 17 + codes;
  }
  return true;
}

}  // namespace

Format sniff(const uint8_t* bytes, size_t size) {
  // Four bytes of PNG's signature are enough: a shorter file is then a truncated image, not a foreign one.
  if (starts(bytes, size, "\x89PNG", 4)) return Format::png;
  if (starts(bytes, size, "\xFF\xD8", 2)) return Format::jpeg;
  if (size >= 3 && bytes[0] == 'P' && (bytes[1] == '5' || bytes[1] == '6') &&
      (std::memchr(" \t\r\n#", bytes[2], 5) != nullptr))
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

std::string jpeg_defect(const uint8_t* bytes, size_t size) {
  const std::string truncated = "truncated: no end-of-image marker";
  size_t at = 2;
  for (;;) {
    // Entropy-coded data and padding are passed over byte by byte; FF 00 and restart markers belong to the
    // data.
    while (at < size && bytes[at] != 0xFF) ++at;
    while (at < size && bytes[at] == 0xFF) ++at;
    if (at >= size) return truncated;
    const uint8_t marker = bytes[at++];
    if (marker == 0xD9) return {};
    if (marker == 0x00 || marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8)) continue;
    if (size - at < 2) return truncated;
    const size_t length = (size_t{bytes[at]} << 8) | bytes[at + 1];
    if (length < 2) return "damaged: a segment of impossible length";
    if (size - at < length) return truncated;
    if (marker == 0xC4 && !huffman_tables_fit(bytes + at + 2, length - 2))
      return "damaged: impossible Huffman tables";
    at += length;
  }
}

}  // namespace rtfq::data
