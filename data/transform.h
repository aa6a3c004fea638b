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
  float brightness = 0, contrast = 0, saturation = 0;  ///< factor uniform in [1 - v, 1 + v], at least 0
  float hue = 0;                                       ///< turns of the colour circle, uniform in [-h, h]
  // How an image becomes the one that is cropped; the same in evaluation.
  int resize = 0;  ///< shorter side after resizing, then a random crop of the output resolution (centre crop
                   ///< in evaluation); 0: the whole image is squashed to the output resolution. Where `crop`
                   ///< is on and not `squash`, it cuts from the original and `resize` matters in evaluation
                   ///< only
  bool squash = false;   ///< resize to a square of `resize` pixels instead of the shorter side
  bool bicubic = false;  ///< the filter of all resizing; else bilinear
  bool operator==(const Augmentation&) const = default;
};

/// Throws std::invalid_argument naming the field and its range.
void check(const Augmentation& augmentation, int resolution);

/// What is done with an image once, whatever is drawn later, and so can be kept: `resize` where it precedes
/// all cropping (resizes_first), else nothing.
Image standardize(const Image& image, const Augmentation& augmentation);
bool resizes_first(const Augmentation& augmentation);

/// What is drawn for one standardized image: a rectangle of it, `height` x `width` pixels at (top, left),
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

/// The draws of `augmentation` for a standardized image of this size. The stream is always used in the same
/// order, so that two augmentations that differ in one field differ in that alone.
Placement draw(const Augmentation& augmentation, int height, int width, int resolution, Random& random);

/// Crop, flip and affine map in one inverse-mapped bilinear sampling. Where the source shrinks, the part that
/// is needed is reduced with an antialiasing filter first; without an affine map that filter is all. What
/// lies outside the image repeats its nearest edge pixel. Result [resolution, resolution, channels].
Image place(const Image& image, const Placement& placement, int resolution, bool bicubic = false);

/// Everything from a decoded image: standardize, draw, place, then colours (data/color.h), for which
/// `colours` is drawn from.
Image augment(const Image& image, const Augmentation& augmentation, int resolution, Random& random,
              Random& colours);

/// Evaluation of a decoded image: shorter side (or, with `squash`, both) to `resize` (0: squash to the
/// resolution), centre crop of `resolution`; the other fields do not matter. Deterministic. Throws
/// std::invalid_argument for a resize between 1 and resolution - 1.
Image prepare(const Image& image, const Augmentation& augmentation, int resolution);
Image prepare(const Image& image, int resize, int resolution);
/// The same for an image that standardize() has seen.
Image prepare_standardized(const Image& image, const Augmentation& augmentation, int resolution);

/// Resizing as resample() does it. Throws std::invalid_argument for empty sizes.
Image resize_image(const Image& image, int height, int width, bool bicubic = false);

}  // namespace rtfq::data
