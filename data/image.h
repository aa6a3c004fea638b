#pragma once
// 8-bit images in memory, and the files they come from.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace rtfq::data {

/// Row-major, channels interleaved (HWC).
struct Image {
  int height = 0, width = 0, channels = 0;
  std::vector<uint8_t> pixels;

  size_t offset(int y, int x) const {
    return (static_cast<size_t>(y) * static_cast<size_t>(width) + static_cast<size_t>(x)) *
           static_cast<size_t>(channels);
  }
};

/// Images of more pixels than this are refused before anything is decoded: 128 Mi, or 384 MiB of RGB.
inline constexpr int64_t max_image_pixels = int64_t{1} << 27;

/// Decodes a PNG, JPEG, or binary PGM/PPM file to 1 (grey) or 3 (RGB) channels. Grey is replicated to RGB;
/// RGB becomes luma, (77 R + 150 G + 29 B) >> 8. Transparent pixels are composited on black, before that
/// conversion. 16-bit samples keep their upper byte; EXIF orientation and colour profiles are ignored. Throws
/// std::runtime_error
/// `[data] cannot read FILE: reason` for files that are missing, empty, of another format, truncated, damaged
/// or larger than max_image_pixels; std::invalid_argument for another number of channels.
Image load_image(const std::string& path, int channels);

/// The same for the bytes of a file; `origin` names them in errors.
Image decode_image(const uint8_t* bytes, size_t size, int channels, const std::string& origin);

/// The bytes of a PNG file of 1, 2 (with alpha), 3 or 4 (with alpha) channels. Throws std::invalid_argument
/// for another number of them and for an image whose pixels are not all there.
std::vector<uint8_t> encode_png(const Image& image);

/// Writes 1, 2 (with alpha), 3 or 4 (with alpha) channels as PNG, through a temporary file that is renamed.
/// Throws std::runtime_error naming the file.
void save_png(const std::string& path, const Image& image);

}  // namespace rtfq::data
