#include "data/exif.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "data/envelope.h"

namespace rtfq::data {
namespace {

struct Span {
  const uint8_t* bytes = nullptr;
  size_t size = 0;
};

/// Numbers of a TIFF structure in its byte order; zero beyond its end.
class Tiff {
 public:
  explicit Tiff(Span span) : span_(span) { little_ = span.size > 1 && span.bytes[0] == 'I'; }
  bool sound() const {
    return span_.size >= 8 && (number(0, 2) == 0x4949 || number(0, 2) == 0x4D4D) && number(2, 2) == 42;
  }
  uint32_t number(size_t at, size_t width) const {
    if (at > span_.size || span_.size - at < width) return 0;
    uint32_t value = 0;
    for (size_t i = 0; i < width; ++i) value = (value << 8) | span_.bytes[at + (little_ ? width - 1 - i : i)];
    return value;
  }

 private:
  Span span_;
  bool little_ = false;
};

/// The TIFF structure of a JPEG's first EXIF segment.
Span in_jpeg(const uint8_t* bytes, size_t size) {
  constexpr size_t name = 6;  // "Exif", two zeros
  for (size_t at = 2; at + 4 <= size && bytes[at] == 0xFF;) {
    const uint8_t marker = bytes[at + 1];
    const size_t length = (size_t{bytes[at + 2]} << 8) | bytes[at + 3];
    if (marker == 0xDA || length < 2 || at + 2 + length > size) break;
    if (marker == 0xE1 && length >= 2 + name && std::memcmp(bytes + at + 4, "Exif\0\0", name) == 0)
      return {bytes + at + 4 + name, length - 2 - name};
    at += 2 + length;
  }
  return {};
}

Span in_png(const uint8_t* bytes, size_t size) {
  for (size_t at = 8; at + 12 <= size;) {
    const size_t length = (size_t{bytes[at]} << 24) | (size_t{bytes[at + 1]} << 16) |
                          (size_t{bytes[at + 2]} << 8) | size_t{bytes[at + 3]};
    if (length > size - at - 12) break;
    if (std::memcmp(bytes + at + 4, "eXIf", 4) == 0) return {bytes + at + 8, length};
    at += 12 + length;
  }
  return {};
}

}  // namespace

int exif_orientation(const uint8_t* bytes, size_t size) {
  const Format format = sniff(bytes, size);
  const Tiff tiff(format == Format::jpeg  ? in_jpeg(bytes, size)
                  : format == Format::png ? in_png(bytes, size)
                                          : Span{});
  if (!tiff.sound()) return 1;
  const size_t directory = tiff.number(4, 4);
  const uint32_t entries = tiff.number(directory, 2);
  for (size_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + 12 * i;
    if (tiff.number(entry, 2) != 0x0112) continue;
    constexpr uint32_t short_type = 3;
    const uint32_t value = tiff.number(entry + 8, 2);
    return tiff.number(entry + 2, 2) == short_type && value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

Image upright(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  const bool transposed = orientation >= 5;
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_below = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image out{
      transposed ? image.width : image.height, transposed ? image.height : image.width, image.channels, {}};
  out.pixels.resize(image.pixels.size());
  for (int y = 0; y < out.height; ++y)
    for (int x = 0; x < out.width; ++x) {
      const int row = transposed ? x : y, column = transposed ? y : x;
      const size_t from = image.offset(from_below ? image.height - 1 - row : row,
                                       from_right ? image.width - 1 - column : column);
      std::copy_n(image.pixels.data() + from, image.channels, out.pixels.data() + out.offset(y, x));
    }
  return out;
}

}  // namespace rtfq::data
