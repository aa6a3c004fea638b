#include "data/glyph_outline.h"

#include <stb/stb_truetype.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>
#include <vector>

namespace rtfq::data {
namespace {

/// 2 * area / perimeter; the perimeter is the total variation of the mask (Steiner: edges of any slope count
/// by length).
double stroke_width(const Image& mask) {
  double area = 0, outline = 0;
  for (int y = 0; y + 1 < mask.height; ++y)
    for (int x = 0; x + 1 < mask.width; ++x) {
      const double here = mask.pixels[mask.offset(y, x)];
      area += here;
      outline +=
          std::hypot(mask.pixels[mask.offset(y, x + 1)] - here, mask.pixels[mask.offset(y + 1, x)] - here);
    }
  return outline > 0 ? 2 * area / outline : 0;
}

Glyph rasterize(const stbtt_fontinfo& font, int digit, const std::string& path, int canvas, int height) {
  const int index = stbtt_FindGlyphIndex(&font, '0' + digit);
  int x0, y0, x1, y1;
  if (index == 0 || !stbtt_GetGlyphBox(&font, index, &x0, &y0, &x1, &y1) || x1 <= x0 || y1 <= y0)
    throw std::runtime_error("[data] font " + path + " has no digit " + std::to_string(digit));
  const float scale = static_cast<float>(height) / static_cast<float>(std::max(x1 - x0, y1 - y0));
  // Centred to a fraction of a pixel, so that no face sits off by the rounding of its box.
  const float centre = static_cast<float>(canvas) / 2;
  const float left = centre - scale * static_cast<float>(x0 + x1) / 2,
              base = centre + scale * static_cast<float>(y0 + y1) / 2;
  const float whole_x = std::floor(left), whole_y = std::floor(base);
  int bx0, by0, bx1, by1;
  stbtt_GetGlyphBitmapBoxSubpixel(&font, index, scale, scale, left - whole_x, base - whole_y, &bx0, &by0,
                                  &bx1, &by1);
  const int x = static_cast<int>(whole_x) + bx0, y = static_cast<int>(whole_y) + by0;
  const int w = bx1 - bx0, h = by1 - by0;
  if (x < 0 || y < 0 || x + w > canvas || y + h > canvas)
    throw std::runtime_error("[data] font " + path + ": digit " + std::to_string(digit) + " exceeds its box");
  Glyph glyph;
  glyph.mask = Image{canvas, canvas, 1,
                     std::vector<uint8_t>(static_cast<size_t>(canvas) * static_cast<size_t>(canvas))};
  stbtt_MakeGlyphBitmapSubpixel(&font, glyph.mask.pixels.data() + glyph.mask.offset(y, x), w, h, canvas,
                                scale, scale, left - whole_x, base - whole_y, index);
  if (std::none_of(glyph.mask.pixels.begin(), glyph.mask.pixels.end(), [](uint8_t v) { return v > 127; }))
    throw std::runtime_error("[data] font " + path + ": digit " + std::to_string(digit) + " is blank");
  glyph.stroke = stroke_width(glyph.mask);
  return glyph;
}

}  // namespace

std::array<Glyph, 10> load_digits(const std::string& path, const std::string& package, int canvas,
                                  int height) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    throw std::runtime_error("[data] font " + path + " is missing: install the Debian package " + package +
                             " (tools/setup installs all of data/fonts.txt)");
  const std::vector<unsigned char> bytes((std::istreambuf_iterator<char>(file)),
                                         std::istreambuf_iterator<char>());
  stbtt_fontinfo font;
  const int offset = bytes.size() < 12 ? -1 : stbtt_GetFontOffsetForIndex(bytes.data(), 0);
  if (offset < 0 || !stbtt_InitFont(&font, bytes.data(), offset))
    throw std::runtime_error("[data] font " + path + " is not a TrueType or OpenType font: reinstall " +
                             package);
  std::array<Glyph, 10> digits;
  for (int digit = 0; digit < 10; ++digit)
    digits[static_cast<size_t>(digit)] = rasterize(font, digit, path, canvas, height);
  return digits;
}

Image thicken(const Image& mask, double radius) {
  const int reach = static_cast<int>(std::floor(std::abs(radius)));
  if (reach == 0) return mask;
  std::vector<std::pair<int, int>> disk;
  for (int dy = -reach; dy <= reach; ++dy)
    for (int dx = -reach; dx <= reach; ++dx)
      if (dx * dx + dy * dy <= radius * radius) disk.emplace_back(dy, dx);
  const bool grow = radius > 0;
  Image out{mask.height, mask.width, 1, std::vector<uint8_t>(mask.pixels.size(), grow ? 0 : 255)};
  for (const auto& [dy, dx] : disk)
    for (int y = 0; y < mask.height; ++y) {
      uint8_t* to = out.pixels.data() + out.offset(y, 0);
      if (y + dy < 0 || y + dy >= mask.height) {
        if (!grow) std::fill(to, to + mask.width, uint8_t{0});
        continue;
      }
      const uint8_t* from = mask.pixels.data() + mask.offset(y + dy, 0);
      const int begin = std::max(0, -dx), end = std::min(mask.width, mask.width - dx);
      if (grow)
        for (int x = begin; x < end; ++x) to[x] = std::max(to[x], from[x + dx]);
      else
        for (int x = 0; x < mask.width; ++x)
          to[x] = x < begin || x >= end ? uint8_t{0} : std::min(to[x], from[x + dx]);
    }
  return out;
}

}  // namespace rtfq::data
