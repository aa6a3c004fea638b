#pragma once
// Digits as large grey masks, and the thickness of their strokes.

#include <array>
#include <string>

#include "data/image.h"

namespace rtfq::data {

/// One digit, centred on a square canvas, coverage 0..255.
struct Glyph {
  Image mask;
  double stroke = 0;  ///< mean stroke width in canvas pixels: twice the area over the length of the outline
};

/// The ten digits of a font file, each scaled to `height` pixels (or to `height` wide, where it is wider than
/// high). Throws std::runtime_error naming the file, and the package to install when it is missing.
std::array<Glyph, 10> load_digits(const std::string& path, const std::string& package, int canvas,
                                  int height);

/// Grows (radius > 0) or shrinks (radius < 0) what is white by a disk, in pixels. Outside is black.
Image thicken(const Image& mask, double radius);

}  // namespace rtfq::data
