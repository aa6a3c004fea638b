// The bytes that Pillow and torchvision make of images: tools/image_cases.py wrote them. RTFQ_IMAGE_CASES may
// name a folder with more (tools/compare_images).
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <map>
#include <sstream>

#include "data/color.h"
#include "data/jpeg.h"
#include "data/transform.h"
#include "tests/data/folder.h"

using namespace rtfq::data;
using namespace rtfq::test;

namespace {

struct Case {
  std::string operation, tolerance, input, expected;
};

std::string folder_of_cases() {
  const char* named = std::getenv("RTFQ_IMAGE_CASES");
  return named ? named : RTFQ_SOURCE_DIR "/tests/data/images";
}

std::vector<Case> read_cases() {
  std::vector<Case> cases;
  std::istringstream lines(read_bytes(folder_of_cases() + "/cases.txt"));
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::vector<std::string> parts;
    for (size_t at = 0; at <= line.size();) {
      const size_t end = std::min(line.find(" | ", at), line.size());
      parts.push_back(line.substr(at, end - at));
      at = end + 3;
    }
    REQUIRE(parts.size() == 4);
    cases.push_back({parts[0], parts[1], parts[2], parts[3]});
  }
  return cases;
}

int worst_difference(const Image& a, const Image& b) {
  if (a.height != b.height || a.width != b.width || a.channels != b.channels) return 256;
  int worst = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i)
    worst = std::max(worst, std::abs(int{a.pixels[i]} - int{b.pixels[i]}));
  return worst;
}

Image computed(const Case& c, int channels, Decoding::Jpeg jpeg) {
  std::istringstream words(c.operation);
  std::string what;
  words >> what;
  Decoding how;
  how.jpeg = jpeg;
  how.exif = what == "exif";
  Image image = load_image(folder_of_cases() + "/" + c.input, channels, how);
  const auto number = [&] {
    double value = NAN;
    words >> value;
    return value;
  };
  const auto integer = [&] { return static_cast<int>(number()); };
  const auto bicubic = [&] {
    std::string filter;
    words >> filter;
    return filter == "bicubic";
  };
  if (what == "resize") {
    const int height = integer(), width = integer();
    return resize_image(image, height, width, bicubic());
  }
  if (what == "shorter" || what == "squash") {
    Augmentation a;
    a.resize = integer();
    a.squash = what == "squash";
    const int crop = integer();
    const Image once = prepare(image, a, crop);
    CHECK(prepare_standardized(standardize(image, a), a, crop).pixels == once.pixels);
    return once;
  }
  if (what == "cut" || what == "flip") {
    Placement p;
    p.top = number(), p.left = number(), p.height = p.width = number();
    p.flip = what == "flip";
    return place(image, p, static_cast<int>(p.height));
  }
  if (what == "part") {
    Placement p;
    p.top = number(), p.left = number(), p.height = number(), p.width = number();
    return place(image, p, integer());
  }
  if (what == "brightness") change_brightness(image, static_cast<float>(number()));
  if (what == "contrast") change_contrast(image, static_cast<float>(number()));
  if (what == "saturation") change_saturation(image, static_cast<float>(number()));
  if (what == "hue") change_hue(image, static_cast<float>(number()));
  return image;
}

}  // namespace

TEST_CASE("images are those of Pillow and torchvision") {
  std::map<std::string, int> seen;
  for (const Case& c : read_cases()) {
    INFO(c.operation << " of " << c.input << ", expected " << c.expected);
    const std::string what = c.operation.substr(0, c.operation.find(' '));
    const bool jpeg = c.tolerance.rfind("jpeg ", 0) == 0;
    const int tolerance = std::stoi(jpeg ? c.tolerance.substr(5) : c.tolerance);
    const bool grey = what == "grey" || c.input == "grey.png";
    const Image expected = load_image(folder_of_cases() + "/" + c.expected, grey ? 1 : 3);
    CHECK(worst_difference(computed(c, grey ? 1 : 3, Decoding::Jpeg::stb), expected) <= tolerance);
    // Pillow decodes with libjpeg-turbo.
    if (turbo_available())
      CHECK(worst_difference(computed(c, grey ? 1 : 3, Decoding::Jpeg::turbo), expected) <=
            (jpeg ? 0 : tolerance));
    ++seen[what];
  }
  for (const char* what : {"resize", "shorter", "squash", "cut", "flip", "part", "brightness", "contrast",
                           "saturation", "hue", "grey", "decode", "exif"})
    CHECK(seen[what] > 0);
}
