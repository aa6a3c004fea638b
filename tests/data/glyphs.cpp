#include "data/glyphs.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <numeric>
#include <set>
#include <sstream>

#include "data/dataset.h"
#include "data/glyph_outline.h"
#include "tests/data/folder.h"
#include "tests/support/skip.h"

using namespace rtfq::data;
using namespace rtfq::test;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

bool fonts_missing() {
  const std::vector<std::string> missing = missing_faces();
  if (missing.empty()) return false;
  skip("fonts of the embedded set are not installed: " + missing.front());
  return true;
}

std::string bytes(const Image& image) {
  return {image.pixels.begin(), image.pixels.end()};
}

double ink(const Image& image) {
  return std::accumulate(image.pixels.begin(), image.pixels.end(), 0.0) /
         (255.0 * static_cast<double>(image.pixels.size()));
}

}  // namespace

TEST_CASE("glyphs: the list of packages is that of the table") {
  std::set<std::string> table, listed;
  for (const Face& face : glyph_faces()) table.insert(face.package);
  std::istringstream file(read_bytes(RTFQ_SOURCE_DIR "/data/fonts.txt"));
  for (std::string line; std::getline(file, line);)
    if (!line.empty()) CHECK(listed.insert(line).second);
  CHECK(listed == table);
}

TEST_CASE("glyphs: a missing font names its package") {
  const Folder folder;
  GlyphOptions options;
  options.fonts = folder.path();
  CHECK_THAT(message([&] { GlyphRenderer renderer(options); }),
             Contains("DejaVuSans.ttf is missing: install the Debian package fonts-dejavu-core"));
  CHECK(missing_faces(folder.path()).size() == glyph_faces().size());
  const std::string fake = folder.write("fake.ttf", std::string(200, 'x'));
  CHECK_THAT(message([&] { load_digits(fake, "fonts-x", 64, 40); }),
             Contains("is not a TrueType or OpenType font"));
  const std::string empty = folder.write("empty.ttf", std::string());
  CHECK_THAT(message([&] { load_digits(empty, "fonts-x", 64, 40); }),
             Contains("is not a TrueType or OpenType font"));
}

TEST_CASE("glyphs: every face has ten digits, distinct and not blank") {
  if (fonts_missing()) return;
  const GlyphRenderer renderer({});
  for (size_t face = 0; face < glyph_faces().size(); ++face) {
    INFO(glyph_faces()[face].file);
    std::set<std::string> seen;
    const auto digits = load_digits(std::string("/usr/share/fonts/") + glyph_faces()[face].file, "", 128, 88);
    for (size_t digit = 0; digit < 10; ++digit) {
      CHECK(seen.insert(bytes(digits[digit].mask)).second);
      CHECK(digits[digit].stroke > 2);
      CHECK(digits[digit].stroke < 40);
      const Image image = renderer.render_face(face, static_cast<int>(digit), 0);
      REQUIRE((image.height == 32 && image.width == 32 && image.channels == 1));
      CHECK(ink(image) > 0.02);
      CHECK(ink(image) < 0.5);
      CHECK(*std::max_element(image.pixels.begin(), image.pixels.end()) > 120);
    }
  }
  CHECK_THROWS_AS(renderer.render_face(glyph_faces().size(), 0, 0), std::invalid_argument);
  CHECK_THROWS_AS(renderer.render_face(0, 10, 0), std::invalid_argument);
}

TEST_CASE("glyphs: a font without digits is refused") {
  const char* font = "/usr/share/fonts/truetype/dustin/Balker.ttf";
  if (!fs::exists(font)) return skip("fonts-dustin is not installed");
  CHECK_THAT(message([&] { load_digits(font, "fonts-dustin", 64, 40); }),
             Contains("Balker.ttf has no digit 0"));
}

TEST_CASE("glyphs: a seed fixes every image") {
  if (fonts_missing()) return;
  GlyphOptions options;
  const GlyphRenderer one(options), two(options);
  options.seed = 2;
  const GlyphRenderer other(options);
  std::set<std::string> seen;
  for (const GlyphDomain domain : {GlyphDomain::source, GlyphDomain::target})
    for (int digit = 0; digit < 10; ++digit)
      for (int index = 0; index < 5; ++index) {
        const Image image = one.render(domain, digit, index);
        CHECK(image.pixels == two.render(domain, digit, index).pixels);
        CHECK(image.pixels != other.render(domain, digit, index).pixels);
        CHECK(seen.insert(bytes(image)).second);
      }
}

TEST_CASE("glyphs: strokes grow and shrink") {
  Image bar = constant(32, 32, 1, 0);
  for (int y = 8; y < 24; ++y)
    for (int x = 14; x < 18; ++x) bar.pixels[bar.offset(y, x)] = 255;
  const auto count = [](const Image& image) {
    return std::count(image.pixels.begin(), image.pixels.end(), 255);
  };
  CHECK(count(thicken(bar, 1)) == 16 * 4 + 2 * 16 + 2 * 4);
  CHECK(count(thicken(bar, -1)) == 14 * 2);
  CHECK(thicken(bar, 0.9).pixels == bar.pixels);
  CHECK(count(thicken(constant(8, 8, 1, 255), -2)) == 16);
  CHECK(count(thicken(constant(8, 8, 1, 255), 2)) == 64);
}

TEST_CASE("glyphs: written as two data sets, kept, replaced on demand, nothing foreign touched") {
  if (fonts_missing()) return;
  const Folder folder;
  const std::string out = folder.path("glyphs");
  GlyphOptions options;
  options.per_class = 3;
  REQUIRE(write_glyphs(out, options));
  for (const char* domain : {"/source", "/target"}) {
    const Dataset dataset = open_dataset(out + domain);
    CHECK(dataset.samples.size() == 30);
    CHECK(dataset.classes == std::vector<std::string>{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"});
  }
  const GlyphRenderer renderer(options);
  CHECK(load_image(out + "/target/7/00002.png", 1).pixels ==
        renderer.render(GlyphDomain::target, 7, 2).pixels);

  CHECK_FALSE(write_glyphs(out + "/", options));
  options.per_class = 2;
  CHECK_THAT(message([&] { write_glyphs(out, options); }), Contains("glyphs of other options"));
  CHECK(write_glyphs(out, options, true));
  CHECK(open_dataset(out + "/source").samples.size() == 20);

  const std::string mine = folder.write("mine/thesis.txt", std::string("precious"));
  CHECK_THAT(message([&] { write_glyphs(folder.path("mine"), options, true); }),
             Contains("is not a set of glyphs"));
  CHECK(read_bytes(mine) == "precious");
  fs::create_directories(folder.path("empty"));
  CHECK(write_glyphs(folder.path("empty"), options));
  size_t entries = 0;
  for (const auto& entry : fs::directory_iterator(folder.path())) entries += entry.exists();
  CHECK(entries == 3);  // no temporary folder is left
  options.per_class = 0;
  CHECK_THROWS_AS(write_glyphs(folder.path("none"), options), std::invalid_argument);
}

TEST_CASE("glyphs: the contact sheet shows every face") {
  if (fonts_missing()) return;
  const Image sheet = glyph_sheet({});
  CHECK(sheet.channels == 1);
  CHECK(sheet.width >= 20 * 32);
  CHECK(sheet.height >= 16 * 32);
  CHECK(ink(sheet) > 0.05);
}
