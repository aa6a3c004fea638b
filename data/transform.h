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
                   ///< in evaluation); 0: the whole image is squashed to the output resolution. Where `crop`
                   ///< is on, it takes the place of the random crop and `resize` matters in evaluation only
  bool operator==(const Augmentation&) const = default;
};

/// Throws std::invalid_argument naming the field and its range.
void check(const Augmentation& augmentation, int resolution);

/// What augment() draws for one image: a rectangle of the source, `height` x `width` pixels at (top, left),
/// becomes the output after an affine map about the output's centre.
struct Placement {
  double top = 0, left = 0, height = 0, width = 0;
  bool flip = false;
  double rotation = 0;              ///< degrees, counter-clockwise as seen
  double scale = 1;                 ///< above 1 enlarges
  double shear = 0;                 ///< right of the centre's row below it
  double shift_x = 0, shift_y = 0;  ///< output pixels, right and down

  bool affine() const { return rotation != 0 || scale != 1 || shear != 0 || shift_x != 0 || shift_y != 0; }
};

/// The draws of `augmentation` for a source image of this size. The stream is always used in the same order,
/// so that two augmentations that differ in one field differ in that alone.
Placement draw(const Augmentation& augmentation, int height, int width, int resolution, Random& random);

/// Crop, flip and affine map in one inverse-mapped bilinear sampling. Where the source shrinks, the part that
/// is needed is reduced with an antialiasing filter first; without an affine map that filter is all. What
/// lies outside the image repeats its nearest edge pixel. Result [resolution, resolution, channels].
Image place(const Image& image, const Placement& placement, int resolution);

/// place(draw()).
Image augment(const Image& image, const Augmentation& augmentation, int resolution, Random& random);

/// Evaluation: shorter side to `resize` (0: squash to the resolution), centre crop of `resolution`.
/// Deterministic. Throws std::invalid_argument for a resize between 1 and resolution - 1.
Image prepare(const Image& image, int resize, int resolution);

/// Antialiased bilinear resize: a triangle filter whose support grows with the reduction, pixel centres at i
/// + 1/2, edges renormalised (what Pillow's BILINEAR does, to rounding). Throws std::invalid_argument for
/// empty sizes.
Image resize_image(const Image& image, int height, int width);

}  // namespace rtfq::data
