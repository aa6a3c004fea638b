#pragma once
// From a decoded image to network input: resizing, cropping, random augmentation. All on 8-bit HWC.

#include "data/image.h"
#include "engine/random.h"

namespace rtfq::data {

/// Zero or false everywhere: no augmentation. See docs/data.md for the order of the steps.
struct Augmentation {
  float rotation = 0;  ///< degrees, uniform in [-r, r], about the centre
  float scale = 0;     ///< factor uniform in [1 - s, 1 + s]
  float shear = 0;     ///< horizontal shear uniform in [-s, s]: x moves by shear * y
  float shift = 0;     ///< fraction of the output size, uniform in [-s, s], each axis
  bool flip = false;   ///< mirrored left to right, half of the time
  float crop = 0;      ///< smallest area fraction of a random resized crop, sides 3:4 to 4:3; 0: off
  int resize = 0;  ///< shorter side after resizing, then a random crop of the output resolution (centre crop
                   ///< in evaluation); 0: the whole image is squashed to the output resolution
  bool operator==(const Augmentation&) const = default;
};

/// Throws std::invalid_argument naming the field and its range.
void check(const Augmentation& augmentation, int resolution);

/// Crop, flip and one affine map, all in a single inverse-mapped bilinear sampling (after an antialiased
/// reduction of the source where it shrinks). What lies outside the image repeats its nearest edge pixel.
/// Result [resolution, resolution, channels]. The stream is always used in the same way, so two augmentations
/// that differ in one field differ in that alone.
Image augment(const Image& image, const Augmentation& augmentation, int resolution, Random& random);

/// Evaluation: shorter side to `resize` (0: squash to the resolution), centre crop of `resolution`.
/// Deterministic.
Image prepare(const Image& image, int resize, int resolution);

/// Antialiased bilinear resize: a triangle filter whose support grows with the reduction, pixel centres at i
/// + 1/2, edges renormalised (what Pillow's BILINEAR does, to rounding). Throws std::invalid_argument for
/// empty sizes.
Image resize_image(const Image& image, int height, int width);

}  // namespace rtfq::data
