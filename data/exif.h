#pragma once
// Which way up a camera says its picture is.

#include <cstddef>
#include <cstdint>

#include "data/image.h"

namespace rtfq::data {

/// The orientation of a JPEG's EXIF segment or a PNG's eXIf chunk (tag 0x0112 of the first directory), 1 to
/// 8; 1, upright, where there is none or it makes no sense. Reads within the bytes whatever they are.
int exif_orientation(const uint8_t* bytes, size_t size);

/// The image turned upright: 2 mirrored, 3 by half a turn, 4 upside down, 5 transposed, 6 by a quarter turn
/// clockwise, 7 transposed about the other diagonal, 8 by a quarter turn counter-clockwise.
Image upright(Image image, int orientation);

}  // namespace rtfq::data
