#include "data/glyphs.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numbers>
#include <stdexcept>

#include "data/glyph_outline.h"
#include "data/transform.h"
#include "engine/random.h"

namespace rtfq::data {
namespace {

constexpr int oversampling = 4;

/// How much the images of a domain vary. Lengths in output pixels of a 32-pixel image; they scale with its
/// size.
struct Style {
  float rotation, scale, shear, shift;  ///< as in Augmentation; shift as a fraction of the size
  float slant;                          ///< mean of the shear
  float thinnest, thickest;             ///< stroke width aimed at; 0: the face's own
  float blur;                           ///< largest weight of a neighbour in a 3-tap filter
  float noise;                          ///< largest standard deviation, of 255
  float fade;                           ///< ink is at least 1 - fade of white
};
constexpr Style printed{6, 0.12f, 0.05f, 0.05f, 0, 0, 0, 0.08f, 4, 0.1f};
constexpr Style written{12, 0.15f, 0.15f, 0.06f, -0.1f, 2.0f, 3.8f, 0.2f, 10, 0.25f};

double symmetric(Random& random, float bound) {
  return bound * (2.0 * random.uniform() - 1.0);
}

/// [b, 1 - 2b, b] along rows, then columns, edges repeated.
void blur(std::vector<float>& values, int size, float b) {
  std::vector<float> copy(values.size());
  for (const int stride : {1, size}) {
    copy = values;
    for (int i = 0; i < size * size; ++i) {
      const int place = stride == 1 ? i % size : i / size;
      const int before = place > 0 ? i - stride : i, after = place + 1 < size ? i + stride : i;
      values[static_cast<size_t>(i)] =
          (1 - 2 * b) * copy[static_cast<size_t>(i)] +
          b * (copy[static_cast<size_t>(before)] + copy[static_cast<size_t>(after)]);
    }
  }
}

Image distort(const Glyph& glyph, const Style& style, int size, Random& random) {
  Placement p;
  p.height = p.width = glyph.mask.height;
  p.rotation = symmetric(random, style.rotation);
  p.scale = 1 + symmetric(random, style.scale);
  p.shear = style.slant + symmetric(random, style.shear);
  p.shift_x = symmetric(random, style.shift) * size;
  p.shift_y = symmetric(random, style.shift) * size;
  const float thickness = random.uniform(style.thinnest, style.thickest);
  const float softness = style.blur * random.uniform(), noise = style.noise * random.uniform();
  const float ink = 1 - style.fade * random.uniform();

  const double pixel = oversampling * size / 32.0;
  double radius = 0;
  if (style.thickest > 0)  // no thinner than half of what it was, no thicker by more than two pixels
    radius = std::clamp((thickness * pixel - glyph.stroke) / 2, -0.25 * glyph.stroke, pixel);
  Image image = place(thicken(glyph.mask, radius), p, size);

  std::vector<float> values(image.pixels.begin(), image.pixels.end());
  blur(values, size, softness);
  for (size_t i = 0; i < values.size(); ++i) {
    // Four uniforms make a bell of variance 1/3 with nothing but additions: the same bits on every machine.
    float bell = -2;
    for (int k = 0; k < 4; ++k) bell += random.uniform();
    const float value = ink * values[i] + noise * bell * std::numbers::sqrt3_v<float>;
    image.pixels[i] = static_cast<uint8_t>(std::clamp(value + 0.5f, 0.0f, 255.0f));
  }
  return image;
}

std::string describe(const GlyphOptions& o) {
  return "rtfq-glyphs 1\nseed " + std::to_string(o.seed) + "\nper-class " + std::to_string(o.per_class) +
         "\nsize " + std::to_string(o.size) + "\n";
}

constexpr const char* marker = "glyphs.txt";

std::string read_marker(const std::filesystem::path& folder) {
  std::ifstream file(folder / marker, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void write_domain(const GlyphRenderer& renderer, const std::filesystem::path& folder, GlyphDomain domain,
                  int per_class) {
  for (int digit = 0; digit < 10; ++digit) {
    const std::filesystem::path into = folder / std::to_string(digit);
    std::filesystem::create_directories(into);
    for (int index = 0; index < per_class; ++index) {
      char name[24];
      std::snprintf(name, sizeof name, "%05d.png", index);
      save_png((into / name).string(), renderer.render(domain, digit, index));
    }
  }
}

}  // namespace

struct GlyphRenderer::State {
  GlyphOptions options;
  std::vector<std::array<Glyph, 10>> faces;
  std::vector<size_t> of_domain[2];
};

GlyphRenderer::GlyphRenderer(const GlyphOptions& options) : state_(std::make_unique<State>()) {
  if (options.size < 8 || options.size > 256 || options.per_class < 1 || options.per_class > 99999)
    throw std::invalid_argument(
        "[data] glyphs expect a size of 8 to 256 and 1 to 99999 images a class, got " +
        std::to_string(options.size) + " and " + std::to_string(options.per_class));
  state_->options = options;
  const int canvas = oversampling * options.size;
  for (const Face& face : glyph_faces()) {
    state_->of_domain[face.domain == GlyphDomain::target].push_back(state_->faces.size());
    state_->faces.push_back(load_digits((std::filesystem::path(options.fonts) / face.file).string(),
                                        face.package, canvas, canvas * 11 / 16));
  }
}

GlyphRenderer::~GlyphRenderer() = default;

Image GlyphRenderer::render_face(size_t face, int digit, int index) const {
  if (face >= state_->faces.size() || digit < 0 || digit > 9 || index < 0)
    throw std::invalid_argument("[data] no such glyph: face " + std::to_string(face) + ", digit " +
                                std::to_string(digit) + ", index " + std::to_string(index));
  const bool handwriting = glyph_faces()[face].domain == GlyphDomain::target;
  Random random(state_->options.seed, Purpose::glyphs, static_cast<uint64_t>(index),
                static_cast<uint32_t>(face * 10 + static_cast<size_t>(digit)) + 32);
  return distort(state_->faces[face][static_cast<size_t>(digit)], handwriting ? written : printed,
                 state_->options.size, random);
}

Image GlyphRenderer::render(GlyphDomain domain, int digit, int index) const {
  const auto& faces = state_->of_domain[domain == GlyphDomain::target];
  // Streams 0 to 31 choose faces, later ones belong to the faces.
  Random random(state_->options.seed, Purpose::glyphs, static_cast<uint64_t>(index),
                static_cast<uint32_t>(digit) + (domain == GlyphDomain::target ? 10u : 0u));
  return render_face(faces[random.below(static_cast<uint32_t>(faces.size()))], digit, index);
}

bool write_glyphs(const std::string& out, const GlyphOptions& options, bool force) {
  namespace fs = std::filesystem;
  const fs::path path = fs::path(out).has_filename() ? fs::path(out) : fs::path(out).parent_path();
  const std::string description = describe(options);
  const bool replace = fs::exists(path) && !(fs::is_directory(path) && fs::is_empty(path));
  if (replace) {
    const std::string existing = fs::is_directory(path) ? read_marker(path) : "";
    if (!existing.starts_with("rtfq-glyphs "))
      throw std::runtime_error("[data] " + path.string() +
                               " exists and is not a set of glyphs: name another folder");
    if (existing == description && !force) return false;
    if (!force)
      throw std::runtime_error("[data] " + path.string() +
                               " holds glyphs of other options: use --force to replace it");
  }
  const GlyphRenderer renderer(options);
  const std::string process = std::to_string(getpid());
  const fs::path building = path.string() + ".new." + process, old = path.string() + ".old." + process;
  try {
    fs::remove_all(building);
    write_domain(renderer, building / "source", GlyphDomain::source, options.per_class);
    write_domain(renderer, building / "target", GlyphDomain::target, options.per_class);
    std::ofstream file(building / marker, std::ios::binary);
    file << description;
    file.close();
    if (!file) throw std::runtime_error("[data] cannot write " + (building / marker).string());
    if (replace) fs::rename(path, old);
    fs::rename(building, path);
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(building, ignored);
    throw;
  }
  fs::remove_all(old);
  return true;
}

Image glyph_sheet(const GlyphOptions& options) {
  const GlyphRenderer renderer(options);
  const auto faces = glyph_faces();
  const int cell = options.size + 1, half = 10 * cell;
  int rows[2] = {0, 0};
  for (const Face& face : faces) ++rows[face.domain == GlyphDomain::target];
  Image sheet{std::max(rows[0], rows[1]) * cell, 2 * half + cell / 2, 1, {}};
  sheet.pixels.assign(sheet.offset(sheet.height, 0), 64);
  int row[2] = {0, 0};
  for (size_t face = 0; face < faces.size(); ++face) {
    const int side = faces[face].domain == GlyphDomain::target;
    for (int digit = 0; digit < 10; ++digit) {
      const Image image = renderer.render_face(face, digit, 0);
      for (int y = 0; y < image.height; ++y)
        std::copy_n(image.pixels.data() + image.offset(y, 0), image.width,
                    sheet.pixels.data() +
                        sheet.offset(row[side] * cell + y, side * (half + cell / 2) + digit * cell));
    }
    ++row[side];
  }
  return sheet;
}

}  // namespace rtfq::data
