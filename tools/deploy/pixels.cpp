#include "tools/deploy/pixels.h"

#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "data/color.h"

namespace rtfq::deploy {
namespace {

/// Where the channels of a pixel lie.
struct Layout {
  int bytes, red, green, blue, alpha;  ///< alpha: -1 where there is none
};

Layout layout_of(int format) {
  switch (format) {
    case RTFQ_GRAY8:
      return {1, 0, 0, 0, -1};
    case RTFQ_RGB8:
      return {3, 0, 1, 2, -1};
    case RTFQ_BGR8:
      return {3, 2, 1, 0, -1};
    case RTFQ_RGBA8:
      return {4, 0, 1, 2, 3};
    case RTFQ_BGRA8:
      return {4, 2, 1, 0, 3};
  }
  throw std::invalid_argument("[image] unknown format " + std::to_string(format));
}

}  // namespace

data::Image image_of(const rtfq_image& from, int channels) {
  int format;  // what a caller in C wrote may be no rtfq_format, and must not be read as one
  static_assert(sizeof format == sizeof from.format);
  std::memcpy(&format, &from.format, sizeof format);
  const Layout at = layout_of(format);
  if (!from.pixels) throw std::invalid_argument("[image] its pixels are NULL");
  if (from.width < 1 || from.height < 1 || from.height > data::max_image_pixels / from.width)
    throw std::invalid_argument("[image] expected 1 to " + std::to_string(data::max_image_pixels) +
                                " pixels, got " + std::to_string(from.width) + " x " +
                                std::to_string(from.height));
  const int64_t row_bytes = int64_t{from.width} * at.bytes;
  const int64_t stride = from.stride ? static_cast<int64_t>(from.stride) : row_bytes;
  if (std::abs(stride) < row_bytes)
    throw std::invalid_argument("[image] a row has " + std::to_string(row_bytes) + " bytes, the stride is " +
                                std::to_string(stride));
  data::Image image{from.height, from.width, channels, {}};
  image.pixels.resize(image.offset(from.height, 0));
  uint8_t* to = image.pixels.data();
  const bool grey = format == RTFQ_GRAY8;
  for (int64_t y = 0; y < from.height; ++y) {
    const uint8_t* pixel = from.pixels + y * stride;
    for (int x = 0; x < from.width; ++x, pixel += at.bytes) {
      uint8_t rgb[3] = {pixel[at.red], pixel[at.green], pixel[at.blue]};
      if (at.alpha >= 0)
        for (uint8_t& value : rgb) value = data::over_black(value, pixel[at.alpha]);
      if (channels == 1) {
        *to++ = grey ? rgb[0] : data::luma(rgb[0], rgb[1], rgb[2]);
      } else {
        for (const uint8_t value : rgb) *to++ = value;
      }
    }
  }
  return image;
}

}  // namespace rtfq::deploy
