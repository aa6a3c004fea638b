#pragma once
// Colours of 8-bit images, byte for byte as Pillow and torchvision (on Pillow images) compute them.

#include <cstdint>

#include "data/image.h"
#include "data/transform.h"

namespace rtfq::data {

/// Luma of ITU-R BT.601 in 16 fractional bits, rounded to nearest.
inline uint8_t luma(int red, int green, int blue) {
  return static_cast<uint8_t>((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16);
}

/// A value of a pixel of this opacity on black.
inline uint8_t over_black(uint8_t value, uint8_t alpha) {
  return static_cast<uint8_t>((value * alpha + 127) / 255);
}

// Each changes an image of 1 or 3 channels in place. A factor of 1 changes nothing, 0 leaves black, the mean
// luma, or grey; factors above 1 extrapolate and clamp.
void change_brightness(Image& image, float factor);
void change_contrast(Image& image, float factor);
/// Nothing to do for grey images.
void change_saturation(Image& image, float factor);
/// Turns hues by a part of the circle in [-1/2, 1/2]; through bytes of hue, saturation and value. Nothing to
/// do for grey images.
void change_hue(Image& image, float turn);

/// torchvision's ColorJitter: brightness, contrast, saturation and hue in an order that is drawn, each with a
/// factor that is drawn. What is off draws its number all the same.
void change_colours(Image& image, const Augmentation& augmentation, Random& random);

}  // namespace rtfq::data
