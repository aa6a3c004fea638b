#pragma once
// JPEG by libjpeg-turbo, where the build found it. Its pixels are those of Pillow, which uses it too.

#include <cstddef>
#include <cstdint>
#include <string>

#include "data/image.h"

namespace rtfq::data {

/// This build has it. Without it decode_turbo throws std::logic_error.
bool turbo_available();

/// RGB, or one channel where the file has no colours; `error` says what is wrong where it returns an empty
/// image. An image whose colours are not YCbCr, RGB or grey (CMYK) is not decoded: an empty image and an
/// empty error. `scale_to`, when above 0: the smallest of the decoder's eighths whose shorter side has at
/// least so many pixels.
Image decode_turbo(const uint8_t* bytes, size_t size, int scale_to, std::string* error);

}  // namespace rtfq::data
