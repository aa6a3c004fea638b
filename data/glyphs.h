#pragma once
// The embedded data set: the digits of fonts that Debian packages install, printed faces as the source domain
// and handwriting as the target. Nothing foreign is shipped: images are rendered on the user's machine.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/image.h"

namespace rtfq::data {

enum class GlyphDomain { source, target };

/// One face of the set and where it comes from.
struct Face {
  GlyphDomain domain;
  const char* package;  ///< Debian package; data/fonts.txt lists all of them
  const char* file;     ///< below the font folder
};
std::span<const Face> glyph_faces();

struct GlyphOptions {
  uint64_t seed = 1;
  int per_class = 250;  ///< images of a digit and domain
  int size = 32;        ///< pixels
  std::string fonts = "/usr/share/fonts";
};

/// Names, with their packages, of the faces whose files are missing; empty when all are installed.
std::vector<std::string> missing_faces(const std::string& fonts = "/usr/share/fonts");

/// Draws single images. Reads all fonts when constructed: throws std::runtime_error naming the package of a
/// font that is missing, and the face of one that lacks a digit.
class GlyphRenderer {
 public:
  explicit GlyphRenderer(const GlyphOptions& options);
  ~GlyphRenderer();
  GlyphRenderer(const GlyphRenderer&) = delete;
  GlyphRenderer& operator=(const GlyphRenderer&) = delete;

  /// Image `index` of a digit: grey, white on black, a function of options, domain, digit and index alone.
  Image render(GlyphDomain domain, int digit, int index) const;
  /// The same with the face given: `face` is an index into glyph_faces().
  Image render_face(size_t face, int digit, int index) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Writes out/source/0..9/*.png and out/target/0..9/*.png through a temporary folder that is renamed at the
/// end. An existing complete set of the same options is kept as it is (returns false); one of other options
/// is replaced only with `force`. Throws std::runtime_error when `out` exists and is something else, which is
/// never touched.
bool write_glyphs(const std::string& out, const GlyphOptions& options, bool force = false);

/// A contact sheet: each face's ten digits with the distortions of its domain, source faces in the left half,
/// target faces in the right half.
Image glyph_sheet(const GlyphOptions& options);

}  // namespace rtfq::data
