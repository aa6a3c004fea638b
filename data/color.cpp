#include "data/color.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

namespace rtfq::data {
namespace {

/// What lies at `factor` on the line from `from` (0) to `to` (1), cut off towards zero and clamped.
uint8_t blended(int from, int to, float factor) {
  const float value = static_cast<float>(from) + factor * static_cast<float>(to - from);
  return static_cast<uint8_t>(std::clamp(value, 0.0f, 255.0f));
}

struct Hsv {
  uint8_t hue, saturation, value;
};

uint8_t byte_of(double fraction) {
  return static_cast<uint8_t>(std::clamp(static_cast<int>(fraction * 255.0), 0, 255));
}

/// Hue in 255ths of the circle (red 0, green 85, blue 170), cut off towards zero like saturation.
Hsv to_hsv(const uint8_t* rgb) {
  const int red = rgb[0], green = rgb[1], blue = rgb[2];
  const int high = std::max({red, green, blue}), low = std::min({red, green, blue});
  if (high == low) return {0, 0, static_cast<uint8_t>(high)};
  // Single precision as in the definition: it decides the bytes at the boundaries.
  const float range = static_cast<float>(high - low), saturation = range / static_cast<float>(high);
  const auto below = [&](int channel) { return static_cast<float>(high - channel) / range; };
  float sixth;
  if (red == high)
    sixth = below(blue) - below(green);
  else if (green == high)
    sixth = static_cast<float>(2.0 + static_cast<double>(below(red)) - static_cast<double>(below(blue)));
  else
    sixth = static_cast<float>(4.0 + static_cast<double>(below(green)) - static_cast<double>(below(red)));
  const double turned = static_cast<double>(sixth) / 6.0 + 1.0;  // between 5/6 and 2
  const float turn = static_cast<float>(turned >= 1.0 ? turned - 1.0 : turned);
  return {byte_of(static_cast<double>(turn)), byte_of(static_cast<double>(saturation)),
          static_cast<uint8_t>(high)};
}

void to_rgb(const Hsv& hsv, uint8_t* rgb) {
  const uint8_t value = hsv.value;
  if (hsv.saturation == 0) {
    rgb[0] = rgb[1] = rgb[2] = value;
    return;
  }
  const double position = static_cast<double>(hsv.hue) * 6.0 / 255.0;
  const int sector = static_cast<int>(position);
  const double part = static_cast<double>(static_cast<float>(position - sector));
  const double saturation = static_cast<double>(static_cast<float>(hsv.saturation / 255.0));
  const auto level = [&](double away) {
    return static_cast<uint8_t>(
        std::clamp(static_cast<int>(std::round(value * (1.0 - saturation * away))), 0, 255));
  };
  const uint8_t none = level(1), falling = level(part), rising = level(1.0 - part);
  const std::array<std::array<uint8_t, 3>, 6> sectors{{{value, rising, none},
                                                       {falling, value, none},
                                                       {none, value, rising},
                                                       {none, falling, value},
                                                       {rising, none, value},
                                                       {value, none, falling}}};
  std::copy_n(sectors[static_cast<size_t>(sector % 6)].begin(), 3, rgb);
}

uint8_t luma_at(const Image& image, size_t i) {
  const uint8_t* p = image.pixels.data() + i;
  return image.channels == 1 ? p[0] : luma(p[0], p[1], p[2]);
}

}  // namespace

void change_brightness(Image& image, float factor) {
  for (uint8_t& value : image.pixels) value = blended(0, value, factor);
}

void change_contrast(Image& image, float factor) {
  uint64_t sum = 0;
  const size_t step = static_cast<size_t>(image.channels);
  for (size_t i = 0; i < image.pixels.size(); i += step) sum += luma_at(image, i);
  const size_t pixels = image.pixels.size() / step;
  const double mean = static_cast<double>(sum) / static_cast<double>(pixels);
  const int middle = static_cast<int>(mean + 0.5);
  for (uint8_t& value : image.pixels) value = blended(middle, value, factor);
}

void change_saturation(Image& image, float factor) {
  if (image.channels != 3) return;
  for (size_t i = 0; i < image.pixels.size(); i += 3) {
    const int grey = luma_at(image, i);
    for (size_t c = 0; c < 3; ++c) image.pixels[i + c] = blended(grey, image.pixels[i + c], factor);
  }
}

void change_hue(Image& image, float turn) {
  if (image.channels != 3) return;
  const auto step = static_cast<uint8_t>(static_cast<int>(static_cast<double>(turn) * 255));
  for (size_t i = 0; i < image.pixels.size(); i += 3) {
    Hsv hsv = to_hsv(image.pixels.data() + i);
    hsv.hue = static_cast<uint8_t>(hsv.hue + step);
    to_rgb(hsv, image.pixels.data() + i);
  }
}

void change_colours(Image& image, const Augmentation& a, Random& random) {
  if (a.brightness == 0 && a.contrast == 0 && a.saturation == 0 && a.hue == 0) return;
  const std::vector<uint32_t> order = random.permutation(4);
  const auto factor = [&](float range) { return random.uniform(std::max(0.0f, 1 - range), 1 + range); };
  const float brightness = factor(a.brightness), contrast = factor(a.contrast),
              saturation = factor(a.saturation), hue = random.uniform(-a.hue, a.hue);
  for (const uint32_t which : order) {
    if (which == 0 && a.brightness > 0) change_brightness(image, brightness);
    if (which == 1 && a.contrast > 0) change_contrast(image, contrast);
    if (which == 2 && a.saturation > 0) change_saturation(image, saturation);
    if (which == 3 && a.hue > 0) change_hue(image, hue);
  }
}

}  // namespace rtfq::data
