// rtfq-glyphs: renders the embedded data set, printed digits and handwriting, from installed fonts.
#include "data/glyphs.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <set>
#include <string>

int main(int argc, char** argv) {
  using namespace rtfq::data;
  CLI::App app{"Renders digits 0 to 9: printed faces to OUT/source, handwriting to OUT/target."};
  std::string out, sheet;
  GlyphOptions options;
  bool force = false, packages = false;
  app.add_option("--out", out, "folder to create");
  app.add_option("--seed", options.seed, "another seed, other images")->capture_default_str();
  app.add_option("--per-class", options.per_class, "images of a digit and domain")->capture_default_str();
  app.add_option("--size", options.size, "pixels of a side")->capture_default_str();
  app.add_option("--fonts", options.fonts, "folder of the installed fonts")->capture_default_str();
  app.add_option("--sheet", sheet, "also write a contact sheet of all faces to this PNG file");
  app.add_flag("--force", force, "replace an existing set");
  app.add_flag("--packages", packages, "print the Debian packages that the fonts come from, and stop");
  CLI11_PARSE(app, argc, argv);

  try {
    if (packages) {
      std::set<std::string> names;
      for (const Face& face : glyph_faces()) names.insert(face.package);
      for (const std::string& name : names) std::puts(name.c_str());
      return 0;
    }
    if (out.empty() && sheet.empty()) {
      std::fputs("rtfq-glyphs: nothing to do: expected --out FOLDER, --sheet FILE or --packages\n", stderr);
      return 2;
    }
    if (!sheet.empty()) save_png(sheet, glyph_sheet(options));
    if (!out.empty()) {
      const bool written = write_glyphs(out, options, force);
      std::printf(written ? "%s: %d images a domain\n" : "%s: kept, %d images a domain\n", out.c_str(),
                  10 * options.per_class);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rtfq-glyphs: %s\n", error.what());
    return 1;
  }
  return 0;
}
