#include "data/transform.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <utility>

#include "data/resample.h"
#include "tests/data/folder.h"

using namespace rtfq::data;
using namespace rtfq::test;
using Catch::Matchers::Contains;
using rtfq::Purpose;
using rtfq::Random;

namespace {

uint8_t at(const Image& image, int y, int x, int channel) {
  const int row = std::clamp(y, 0, image.height - 1), column = std::clamp(x, 0, image.width - 1);
  return image.pixels[image.offset(row, column) + static_cast<size_t>(channel)];
}

/// Every output pixel is the input pixel that `source(y, x)` names.
template <typename Source>
bool permutes(const Image& out, const Image& in, Source&& source) {
  for (int y = 0; y < out.height; ++y)
    for (int x = 0; x < out.width; ++x)
      for (int c = 0; c < out.channels; ++c) {
        const std::pair<int, int> from = source(y, x);
        if (at(out, y, x, c) != at(in, from.first, from.second, c)) return false;
      }
  return out.channels == in.channels;
}

Placement whole(const Image& image) {
  Placement p;
  p.height = image.height;
  p.width = image.width;
  return p;
}

/// The filter's definition, in double precision and two dimensions at once.
double reference(const Image& image, int height, int width, int y, int x, int channel) {
  const double sy = static_cast<double>(image.height) / height, sx = static_cast<double>(image.width) / width;
  const double cy = (y + 0.5) * sy, cx = (x + 0.5) * sx;
  double sum = 0, weights = 0;
  for (int i = 0; i < image.height; ++i)
    for (int j = 0; j < image.width; ++j) {
      const double weight = std::max(0.0, 1 - std::abs(i + 0.5 - cy) / std::max(sy, 1.0)) *
                            std::max(0.0, 1 - std::abs(j + 0.5 - cx) / std::max(sx, 1.0));
      sum += weight * at(image, i, j, channel);
      weights += weight;
    }
  return sum / weights;
}

Image cut(const Image& image, int top, int left, int height, int width) {
  Image out{height, width, image.channels, {}};
  for (int y = 0; y < height; ++y) {
    const auto* row = image.pixels.data() + image.offset(top + y, left);
    out.pixels.insert(out.pixels.end(), row,
                      row + static_cast<size_t>(width) * static_cast<size_t>(image.channels));
  }
  return out;
}

int worst_difference(const Image& a, const Image& b) {
  if (a.height != b.height || a.width != b.width || a.channels != b.channels) return 256;
  int worst = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i)
    worst = std::max(worst, std::abs(int{a.pixels[i]} - int{b.pixels[i]}));
  return worst;
}

}  // namespace

TEST_CASE("resize is the antialiased triangle filter") {
  for (const int channels : {1, 3}) {
    const Image image = pattern(19, 31, channels);
    CHECK(resize_image(image, 19, 31).pixels == image.pixels);
    for (const auto& [height, width] : {std::pair{7, 9}, {40, 64}, {19, 10}, {1, 1}, {3, 80}}) {
      const Image out = resize_image(image, height, width);
      REQUIRE(out.height == height);
      REQUIRE(out.width == width);
      double worst = 0;
      for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x)
          for (int c = 0; c < channels; ++c)
            worst = std::max(worst, std::abs(at(out, y, x, c) - reference(image, height, width, y, x, c)));
      CHECK(worst <= 1.001);  // bytes between the two passes: two roundings
    }
  }
  for (const int value : {0, 1, 127, 255}) {
    const Image flat = resize_image(constant(37, 53, 3, static_cast<uint8_t>(value)), 16, 99);
    CHECK(std::all_of(flat.pixels.begin(), flat.pixels.end(), [&](uint8_t v) { return v == value; }));
  }
  CHECK_THROWS_AS(resize_image(pattern(4, 4, 1), 0, 4), std::invalid_argument);
  CHECK_THROWS_AS(resize_image(Image{}, 4, 4), std::invalid_argument);
}

TEST_CASE("no augmentation equals plain resizing") {
  for (const int side : {16, 28, 32, 75}) {
    const Image image = pattern(side, side + 3, 3);
    Random random(1, Purpose::test);
    CHECK(augment(image, {}, 32, random, random).pixels == resize_image(image, 32, 32).pixels);
    CHECK(prepare(image, 0, 32).pixels == resize_image(image, 32, 32).pixels);
  }
}

TEST_CASE("evaluation: shorter side, centre crop") {
  for (const auto& [height, width] : {std::pair{40, 60}, {61, 40}, {20, 20}}) {
    const Image image = pattern(height, width, 3);
    const int shorter = std::min(height, width), h = height * 32 / shorter, w = width * 32 / shorter;
    const Image full = resize_image(image, h, w);
    CHECK(prepare(image, 32, 24).pixels == cut(full, (h - 24) / 2, (w - 24) / 2, 24, 24).pixels);
  }
  CHECK_THAT(message([] { prepare(pattern(9, 9, 1), 16, 24); }),
             Contains("at least the resolution 24, got 16"));
}

TEST_CASE("training with resize: every crop of the resized image, and only those") {
  const Image image = pattern(24, 36, 1), full = resize_image(image, 20, 30);
  std::vector<Image> crops;
  for (int y = 0; y <= 4; ++y)
    for (int x = 0; x <= 14; ++x) crops.push_back(cut(full, y, x, 16, 16));
  Augmentation augmentation;
  augmentation.resize = 20;
  Random colours(3, Purpose::test, 0, 1);
  std::vector<bool> seen(crops.size());
  for (uint64_t i = 0; i < 1500; ++i) {
    Random random(3, Purpose::test, i);
    const Image out = augment(image, augmentation, 16, random, colours);
    const auto found = std::find_if(crops.begin(), crops.end(),
                                    [&](const Image& c) { return c.pixels == out.pixels; });
    REQUIRE(found != crops.end());
    seen[static_cast<size_t>(found - crops.begin())] = true;
  }
  CHECK(std::count(seen.begin(), seen.end(), true) == 75);
}

TEST_CASE("random resized crop: areas, shapes and places") {
  Augmentation augmentation;
  augmentation.crop = 0.25f;
  double smallest = 1, largest = 0, widest = 0, tallest = 0;
  bool corner = false;
  for (uint64_t i = 0; i < 3000; ++i) {
    Random random(4, Purpose::test, i);
    const Placement p = draw(augmentation, 300, 400, 64, random);
    REQUIRE((p.top >= 0 && p.left >= 0 && p.top + p.height <= 300 && p.left + p.width <= 400));
    REQUIRE((p.top == std::floor(p.top) && p.height == std::floor(p.height)));
    const double area = p.height * p.width / 120000;
    smallest = std::min(smallest, area);
    largest = std::max(largest, area);
    widest = std::max(widest, p.width / p.height);
    tallest = std::max(tallest, p.height / p.width);
    corner |= p.top < 5 && p.left < 5;
  }
  CHECK(smallest >= 0.248);
  CHECK(smallest < 0.27);
  CHECK(largest > 0.9);
  CHECK(widest <= 1.35);
  CHECK(widest > 1.3);
  CHECK(tallest <= 1.35);
  CHECK(tallest > 1.25);
  CHECK(corner);

  // A shape that no crop of this area fits: the largest centred rectangle within 4:3.
  augmentation.crop = 1;
  Random random(4, Purpose::test);
  const Placement p = draw(augmentation, 10, 100, 64, random);
  CHECK(p.height == 10);
  CHECK(p.width == 13);
  CHECK(p.left == 43);
}

TEST_CASE("whole-pixel affine maps are exact, edges repeat") {
  for (const int channels : {1, 3}) {
    const int n = 16;
    const Image image = pattern(n, n, channels);
    Placement p = whole(image);
    p.shift_x = 3;
    p.shift_y = -2;
    CHECK(permutes(place(image, p, n), image, [](int y, int x) { return std::pair{y + 2, x - 3}; }));
    p = whole(image);
    p.rotation = 180;
    CHECK(permutes(place(image, p, n), image, [=](int y, int x) { return std::pair{n - 1 - y, n - 1 - x}; }));
    p.rotation = 90;  // counter-clockwise: the right edge becomes the top
    CHECK(permutes(place(image, p, n), image, [=](int y, int x) { return std::pair{x, n - 1 - y}; }));
    p.rotation = -90;
    CHECK(permutes(place(image, p, n), image, [=](int y, int x) { return std::pair{n - 1 - x, y}; }));
    p = whole(image);
    p.flip = true;
    CHECK(permutes(place(image, p, n), image, [=](int y, int x) { return std::pair{y, n - 1 - x}; }));
    p.shift_x = 5;  // flipped first, shifted afterwards; the other code path than flip alone
    CHECK(permutes(place(image, p, n), image, [=](int y, int x) {
      return std::pair{y, n - 1 - std::max(x - 5, 0)};
    }));
    p = whole(image);
    p.shear = 2;  // rows below the centre move right, by two pixels a row, from half a row on
    CHECK(permutes(place(image, p, n), image, [](int y, int x) { return std::pair{y, x - (2 * y - 15)}; }));
    p = whole(image);
    p.top = 4;
    p.left = 2;
    p.height = p.width = 8;
    p.shift_y = 1;
    CHECK(permutes(place(image, p, 8), image, [](int y, int x) { return std::pair{y + 3, x + 2}; }));
  }
}

TEST_CASE("scale enlarges about the centre") {
  Image image = constant(32, 32, 1, 0);
  for (int y = 12; y < 20; ++y)
    for (int x = 12; x < 20; ++x) image.pixels[image.offset(y, x)] = 255;
  const auto ink = [](const Image& i) {
    double sum = 0;
    for (const uint8_t v : i.pixels) sum += v;
    return sum / 255;
  };
  Placement p = whole(image);
  p.scale = 1.5;
  const Image larger = place(image, p, 32);
  CHECK(ink(larger) == Approx(64 * 2.25).epsilon(0.03));
  CHECK(at(larger, 16 - 6, 16, 0) > 127);
  CHECK(at(larger, 16 - 7, 16, 0) < 127);
  p.scale = 0.5;
  CHECK(ink(place(image, p, 32)) == Approx(64 * 0.25).epsilon(0.03));
}

TEST_CASE("shrinking and turning at once does not alias") {
  // Fine stripes, reduced sixfold: without a filter first, a turned copy would show them as bands.
  Image stripes = constant(192, 192, 3, 0);
  for (int y = 0; y < 192; ++y)
    for (int x = 0; x < 192; x += 2)
      for (size_t c = 0; c < 3; ++c) stripes.pixels[stripes.offset(y, x) + c] = 255;
  Placement p = whole(stripes);
  p.rotation = 7;
  p.scale = 1.1;
  const Image out = place(stripes, p, 32);
  int low = 255, high = 0;
  for (int y = 4; y < 28; ++y)
    for (int x = 4; x < 28; ++x) {
      low = std::min<int>(low, at(out, y, x, 0));
      high = std::max<int>(high, at(out, y, x, 0));
    }
  CHECK(low >= 120);
  CHECK(high <= 135);

  // On a smooth image both orders agree: turning the reduced image, or reducing within the turn.
  Image smooth = constant(96, 96, 1, 0);
  for (int y = 0; y < 96; ++y)
    for (int x = 0; x < 96; ++x)
      smooth.pixels[smooth.offset(y, x)] =
          static_cast<uint8_t>(128 + 100 * std::sin(x / 14.0) * std::cos(y / 17.0));
  p = whole(smooth);
  p.rotation = 25;
  p.shift_x = 2.5;
  const Image small = resize_image(smooth, 32, 32);
  Placement q = whole(small);
  q.rotation = 25;
  q.shift_x = 2.5;
  CHECK(worst_difference(cut(place(smooth, p, 32), 7, 7, 18, 18), cut(place(small, q, 32), 7, 7, 18, 18)) <=
        3);
}

TEST_CASE("draws stay within their ranges, fill them, and do not disturb one another") {
  Augmentation all;
  all.rotation = 20;
  all.scale = 0.2f;
  all.shear = 0.3f;
  all.shift = 0.1f;
  all.flip = true;
  Augmentation only;
  only.rotation = 20;
  double least = 0, most = 0, small = 9, large = 0, left = 0, right = 0;
  int flips = 0;
  for (uint64_t i = 0; i < 2000; ++i) {
    Random one(5, Purpose::test, i), two(5, Purpose::test, i);
    const Placement p = draw(all, 32, 32, 32, one), q = draw(only, 32, 32, 32, two);
    REQUIRE(p.rotation == q.rotation);
    REQUIRE((q.scale == 1 && q.shear == 0 && q.shift_x == 0 && !q.flip));
    least = std::min(least, p.rotation);
    most = std::max(most, p.rotation);
    small = std::min(small, p.scale);
    large = std::max(large, p.scale);
    left = std::min(left, p.shift_x);
    right = std::max(right, p.shift_y);
    flips += p.flip;
    REQUIRE(std::abs(p.shear) <= 0.3 + 1e-6);
  }
  CHECK((least >= -20 && least < -19 && most <= 20 && most > 19));
  CHECK((small >= 0.8 - 1e-6 && small < 0.82 && large <= 1.2 + 1e-6 && large > 1.18));
  CHECK((left >= -3.2001 && left < -3 && right <= 3.2001 && right > 3));
  CHECK((flips > 900 && flips < 1100));
}

TEST_CASE("augmentations out of range") {
  const auto why = [](auto&& change) {
    Augmentation a;
    change(a);
    return message([&] { check(a, 32); });
  };
  CHECK_THAT(why([](Augmentation& a) { a.rotation = 200; }), Contains("rotation"));
  CHECK_THAT(why([](Augmentation& a) { a.scale = 1; }), Contains("scale"));
  CHECK_THAT(why([](Augmentation& a) { a.shear = -1; }), Contains("shear"));
  CHECK_THAT(why([](Augmentation& a) { a.shift = std::nanf(""); }), Contains("shift"));
  CHECK_THAT(why([](Augmentation& a) { a.crop = 1.5f; }), Contains("crop"));
  CHECK_THAT(why([](Augmentation& a) { a.resize = 31; }), Contains("resize"));
  CHECK(why([](Augmentation& a) { a.resize = 32; }).empty());
  CHECK_THROWS_AS(check({}, 0), std::invalid_argument);
}
