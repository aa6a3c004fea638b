#include <filesystem>

#include "data/glyphs.h"

namespace rtfq::data {
namespace {

using enum GlyphDomain;

// Chosen by eye. Left out: faces without digits (Balker, MarkedFool, Swift, Winks, flatline, progenisis of
// fonts-dustin), outlines instead of strokes (fonts-femkeklaver, fonts-ecolier-court), slashed zeros, an open
// zero (fonts-breip), a one like a wedge (Delphine of fonts-sjfonts), an extreme slant (dkgIt of
// fonts-dkg-handwriting).
constexpr Face faces[] = {
    {source, "fonts-dejavu-core", "truetype/dejavu/DejaVuSans.ttf"},
    {source, "fonts-dejavu-core", "truetype/dejavu/DejaVuSans-Bold.ttf"},
    {source, "fonts-dejavu-core", "truetype/dejavu/DejaVuSerif.ttf"},
    {source, "fonts-dejavu-core", "truetype/dejavu/DejaVuSerif-Bold.ttf"},
    {source, "fonts-liberation", "truetype/liberation/LiberationSans-Regular.ttf"},
    {source, "fonts-liberation", "truetype/liberation/LiberationSans-Bold.ttf"},
    {source, "fonts-liberation", "truetype/liberation/LiberationSerif-Regular.ttf"},
    {source, "fonts-liberation", "truetype/liberation/LiberationSerif-Bold.ttf"},
    {source, "fonts-crosextra-caladea", "truetype/crosextra/Caladea-Regular.ttf"},
    {source, "fonts-crosextra-caladea", "truetype/crosextra/Caladea-Bold.ttf"},
    {source, "fonts-cabin", "opentype/cabin/Cabin-Regular.otf"},
    {source, "fonts-cabin", "opentype/cabin/Cabin-Bold.otf"},
    {source, "fonts-courier-prime", "opentype/courier-prime/Courier Prime.otf"},
    {source, "fonts-courier-prime", "opentype/courier-prime/Courier Prime Bold.otf"},
    {source, "fonts-quattrocento", "opentype/quattrocento/Quattrocento-Regular.otf"},
    {source, "fonts-oldstandard", "truetype/fonts-oldstandard/OldStandard-Regular.ttf"},

    {target, "fonts-bwht", "opentype/bwht/BecauseWeBuild-Regular.otf"},
    {target, "fonts-bwht", "opentype/bwht/BecauseWeConnect-Regular.otf"},
    {target, "fonts-bwht", "opentype/bwht/BecauseWeCreate-Regular.otf"},
    {target, "fonts-bwht", "opentype/bwht/BecauseWeMentor-Regular.otf"},
    {target, "fonts-bwht", "opentype/bwht/BecauseWeOrganize-Regular.otf"},
    {target, "fonts-dancingscript", "opentype/dancingscript/DancingScript-Regular.otf"},
    {target, "fonts-dancingscript", "opentype/dancingscript/DancingScript-Bold.otf"},
    {target, "fonts-dkg-handwriting", "truetype/fifthhorseman/dkg.ttf"},
    {target, "fonts-dkg-handwriting", "truetype/fifthhorseman/dkgBd.ttf"},
    {target, "fonts-dustin", "truetype/dustin/Domestic_Manners.ttf"},
    {target, "fonts-humor-sans", "truetype/humor-sans/Humor-Sans.ttf"},
    {target, "fonts-kristi", "truetype/kristi/Kristi.ttf"},
    {target, "fonts-lobster", "opentype/lobster/lobster.otf"},
    {target, "fonts-rufscript", "truetype/rufscript/Rufscript010.ttf"},
    {target, "fonts-sjfonts", "truetype/sjfonts/SteveHand.ttf"},
    {target, "fonts-tomsontalks", "truetype/tomsontalks/TomsonTalks.ttf"},
};

}  // namespace

std::span<const Face> glyph_faces() {
  return faces;
}

std::vector<std::string> missing_faces(const std::string& fonts) {
  std::vector<std::string> missing;
  for (const Face& face : faces) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(std::filesystem::path(fonts) / face.file, error))
      missing.push_back(std::string(face.file) + " (package " + face.package + ")");
  }
  return missing;
}

}  // namespace rtfq::data
