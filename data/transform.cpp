#include "data/transform.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <stdexcept>
#include <string>

#include "data/color.h"
#include "data/resample.h"

namespace rtfq::data {
namespace {

void expect(bool condition, const std::string& what) {
  if (!condition) throw std::invalid_argument("[data] " + what);
}

void check_resize(int resize, int resolution) {
  expect(resolution >= 1 && resolution <= 1 << 14,
         "resolution must be within 1 and 16384, got " + std::to_string(resolution));
  expect(resize == 0 || (resize >= resolution && resize <= 1 << 14),
         "resize must be 0 or at least the resolution " + std::to_string(resolution) + ", got " +
             std::to_string(resize));
}

/// Sizes after resizing; the longer side is rounded down, as the field's loaders do.
void resized(int height, int width, const Augmentation& a, int& out_height, int& out_width) {
  const int64_t shorter = std::min(height, width);
  out_height = a.squash ? a.resize : static_cast<int>(int64_t{height} * a.resize / shorter);
  out_width = a.squash ? a.resize : static_cast<int>(int64_t{width} * a.resize / shorter);
}

/// Where a centre crop begins: halves to the even neighbour, as torchvision's centre crop.
int centred(int size, int crop) {
  const int twice = size - crop;
  return twice % 2 == 0 ? twice / 2 : twice / 2 + (twice / 2) % 2;
}

Filter filter_of(bool bicubic) {
  return bicubic ? Filter::bicubic : Filter::bilinear;
}

/// A size x size part of an image as it is.
Image cut(const Image& image, int top, int left, int size) {
  Image out{size, size, image.channels, {}};
  out.pixels.resize(out.offset(size, 0));
  for (int y = 0; y < size; ++y)
    std::copy_n(image.pixels.data() + image.offset(top + y, left), out.offset(1, 0),
                out.pixels.data() + out.offset(y, 0));
  return out;
}

/// A random resized crop as in Szegedy et al. (2015) with whole-pixel sides; after ten misses the largest
/// centred rectangle of an allowed shape.
void random_resized_crop(Placement& placement, int height, int width, float smallest, Random& random) {
  const double area = static_cast<double>(height) * width;
  constexpr double longest = 4.0 / 3.0;
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double part = area * random.uniform(smallest, 1.0f);
    const double shape = std::exp(std::log(longest) * (2.0 * random.uniform() - 1.0));
    const float y = random.uniform(), x = random.uniform();
    const int w = static_cast<int>(std::lround(std::sqrt(part * shape)));
    const int h = static_cast<int>(std::lround(std::sqrt(part / shape)));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    placement.top = std::floor(y * static_cast<float>(height - h + 1));
    placement.left = std::floor(x * static_cast<float>(width - w + 1));
    placement.height = h;
    placement.width = w;
    return;
  }
  placement.height = std::min<double>(height, std::max(1.0, std::floor(width * longest)));
  placement.width = std::min<double>(width, std::max(1.0, std::floor(height * longest)));
  placement.top = std::floor((height - placement.height) / 2);
  placement.left = std::floor((width - placement.width) / 2);
}

void mirror(Image& image) {
  const size_t row = image.offset(0, image.width), channels = static_cast<size_t>(image.channels);
  for (int y = 0; y < image.height; ++y)
    for (size_t low = 0, high = row - channels; low < high; low += channels, high -= channels)
      std::swap_ranges(image.pixels.data() + image.offset(y, 0) + low,
                       image.pixels.data() + image.offset(y, 0) + low + channels,
                       image.pixels.data() + image.offset(y, 0) + high);
}

/// Output position to source position.
Affine inverse_map(const Placement& p, int resolution) {
  const double centre = resolution / 2.0, angle = p.rotation * std::numbers::pi / 180;
  // Quarter turns exactly: sin and cos of a rounded pi leave a residue that would blend neighbours.
  const double cosine =
      std::remainder(p.rotation, 180) == 90 || std::remainder(p.rotation, 180) == -90 ? 0.0 : std::cos(angle);
  const double sine = std::remainder(p.rotation, 180) == 0 ? 0.0 : std::sin(angle);
  // Forward, about the centre, y down: shear x += shear * y, then scale, rotate, shift. Inverted step by
  // step.
  Affine map{1, 0, -centre - p.shift_x, 0, 1, -centre - p.shift_y};
  map = compose({cosine / p.scale, -sine / p.scale, 0, sine / p.scale, cosine / p.scale, 0}, map);
  map = compose({1, -p.shear, centre, 0, 1, centre}, map);
  if (p.flip) map = compose({-1, 0, static_cast<double>(resolution), 0, 1, 0}, map);
  return compose({p.width / resolution, 0, p.left, 0, p.height / resolution, p.top}, map);
}

/// One axis of the part of the source that an affine map reads, reduced by `factor` where that is above 1.
Axis reduced_axis(double low, double high, int size, double factor) {
  // Two output pixels of margin keep the filter and the bilinear taps away from the cut.
  const double margin = 2 * std::max(factor, 1.0);
  const int begin = std::clamp(static_cast<int>(std::floor(low - margin)), 0, size - 1);
  const int end = std::clamp(static_cast<int>(std::ceil(high + margin)), begin + 1, size);
  const int full = std::max(1, static_cast<int>(std::lround((end - begin) / std::max(factor, 1.0))));
  return {static_cast<double>(begin), static_cast<double>(end - begin), full, 0, full};
}

}  // namespace

void check(const Augmentation& a, int resolution) {
  const auto within = [](const char* name, float value, float low, float high) {
    expect(value >= low && value <= high, std::string("augmentation ") + name + " must be within " +
                                              std::to_string(low) + " and " + std::to_string(high) +
                                              ", got " + std::to_string(value));
  };
  check_resize(a.resize, resolution);
  within("rotation", a.rotation, 0, 180);
  within("scale", a.scale, 0, 0.9f);
  within("shear", a.shear, 0, 2);
  within("shift", a.shift, 0, 1);
  within("crop", a.crop, 0, 1);
  within("brightness", a.brightness, 0, 10);
  within("contrast", a.contrast, 0, 10);
  within("saturation", a.saturation, 0, 10);
  within("hue", a.hue, 0, 0.5f);
  expect(!a.squash || a.resize > 0,
         "resizing to a square needs its side: set resize, as in 256, or resize_mode shorter");
}

Placement draw(const Augmentation& a, int height, int width, int resolution, Random& random) {
  Placement p;
  const auto symmetric = [&](float bound) {
    return static_cast<double>(bound) * (2.0 * random.uniform() - 1.0);
  };
  p.rotation = symmetric(a.rotation);
  p.scale = 1 + symmetric(a.scale);
  p.shear = symmetric(a.shear);
  p.shift_x = symmetric(a.shift) * resolution;
  p.shift_y = symmetric(a.shift) * resolution;
  p.flip = random.uniform() < 0.5f && a.flip;
  const float y = random.uniform(), x = random.uniform();
  p.height = height;
  p.width = width;
  if (a.crop > 0) {
    random_resized_crop(p, height, width, a.crop, random);
  } else if (a.resize > 0) {
    p.top = static_cast<int>(y * static_cast<float>(height - resolution + 1));
    p.left = static_cast<int>(x * static_cast<float>(width - resolution + 1));
    p.height = p.width = resolution;
  }
  return p;
}

bool resizes_first(const Augmentation& a) {
  return a.resize > 0 && (a.squash || a.crop <= 0);
}

Image standardize(const Image& image, const Augmentation& a) {
  if (!resizes_first(a)) return image;
  int height, width;
  resized(image.height, image.width, a, height, width);
  return resize_image(image, height, width, a.bicubic);
}

Image place(const Image& image, const Placement& p, int resolution, bool bicubic) {
  if (!p.affine()) {
    Image out = p.height == resolution && p.width == resolution && p.top == std::floor(p.top) &&
                        p.left == std::floor(p.left)
                    ? cut(image, static_cast<int>(p.top), static_cast<int>(p.left), resolution)
                    : resample(image, {p.top, p.height, resolution, 0, resolution},
                               {p.left, p.width, resolution, 0, resolution}, filter_of(bicubic));
    if (p.flip) mirror(out);
    return out;
  }
  const Affine map = inverse_map(p, resolution);
  const double fy = p.height / resolution / p.scale, fx = p.width / resolution / p.scale;
  if (fy <= 1 && fx <= 1) return sample_affine(image, map, resolution, resolution);

  const double n = resolution;
  const auto range = [n](double a, double b, double c, double& low, double& high) {
    const double corners[] = {c, a * n + c, b * n + c, a * n + b * n + c};
    low = *std::min_element(corners, corners + 4);
    high = *std::max_element(corners, corners + 4);
  };
  double left, right, top, bottom;
  range(map.xx, map.xy, map.x0, left, right);
  range(map.yx, map.yy, map.y0, top, bottom);
  const Axis y = reduced_axis(top, bottom, image.height, fy), x = reduced_axis(left, right, image.width, fx);
  const Image reduced = resample(image, y, x);
  const Affine into{x.full / x.length,           0, -x.begin * x.full / x.length, 0, y.full / y.length,
                    -y.begin * y.full / y.length};
  return sample_affine(reduced, compose(into, map), resolution, resolution);
}

Image augment(const Image& image, const Augmentation& augmentation, int resolution, Random& random,
              Random& colours) {
  check(augmentation, resolution);
  const Image standard = standardize(image, augmentation);
  Image out = place(standard, draw(augmentation, standard.height, standard.width, resolution, random),
                    resolution, augmentation.bicubic);
  change_colours(out, augmentation, colours);
  return out;
}

Image prepare(const Image& image, const Augmentation& a, int resolution) {
  check_resize(a.resize, resolution);
  if (a.resize == 0) return resize_image(image, resolution, resolution, a.bicubic);
  int height, width;
  resized(image.height, image.width, a, height, width);
  return resample(image,
                  {0, static_cast<double>(image.height), height, centred(height, resolution), resolution},
                  {0, static_cast<double>(image.width), width, centred(width, resolution), resolution},
                  filter_of(a.bicubic));
}

Image prepare(const Image& image, int resize, int resolution) {
  Augmentation augmentation;
  augmentation.resize = resize;
  return prepare(image, augmentation, resolution);
}

Image prepare_standardized(const Image& image, const Augmentation& a, int resolution) {
  if (!resizes_first(a)) return prepare(image, a, resolution);
  check_resize(a.resize, resolution);
  return cut(image, centred(image.height, resolution), centred(image.width, resolution), resolution);
}

Image resize_image(const Image& image, int height, int width, bool bicubic) {
  return resample(image, {0, static_cast<double>(image.height), height, 0, height},
                  {0, static_cast<double>(image.width), width, 0, width}, filter_of(bicubic));
}

}  // namespace rtfq::data
