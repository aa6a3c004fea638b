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

/// What may be decoded in more than one way.
struct Decoding {
  enum class Jpeg {
    best,  ///< libjpeg-turbo where the build has it, else stb_image
    stb,
    turbo  ///< std::runtime_error where the build lacks it
  };
  Jpeg jpeg = Jpeg::best;
  bool exif = false;  ///< turn the image upright as its EXIF orientation says
  bool operator==(const Decoding&) const = default;
};
/// "turbo" or "stb": what Decoding::Jpeg::best is in this build, or the one that was asked for.
const char* jpeg_decoder(const Decoding&);

/// Decodes a PNG, JPEG, or binary PGM/PPM file to 1 (grey) or 3 (RGB) channels. Grey is replicated to RGB;
/// RGB becomes luma (data/color.h). Transparent pixels are composited on black, before that conversion.
/// 16-bit samples keep their upper byte; colour profiles are ignored. Throws std::runtime_error
/// `[data] cannot read FILE: reason` for files that are missing, empty, of another format, truncated, damaged
/// or larger than max_image_pixels; std::invalid_argument for another number of channels.
Image load_image(const std::string& path, int channels, const Decoding& how = {});

/// The same for the bytes of a file; `origin` names them in errors.
Image decode_image(const uint8_t* bytes, size_t size, int channels, const std::string& origin,
                   const Decoding& how = {});

/// How many times decode_image was called in this process, from any thread.
int64_t decoded_images();

/// The bytes of a PNG file of 1, 2 (with alpha), 3 or 4 (with alpha) channels. Throws std::invalid_argument
/// for another number of them and for an image whose pixels are not all there.
std::vector<uint8_t> encode_png(const Image& image);

/// Writes 1, 2 (with alpha), 3 or 4 (with alpha) channels as PNG, through a temporary file that is renamed.
/// Throws std::runtime_error naming the file.
void save_png(const std::string& path, const Image& image);

}  // namespace rtfq::data
