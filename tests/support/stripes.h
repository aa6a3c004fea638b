#pragma once
// A data set that a small network learns in seconds.

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "data/image.h"
#include "engine/random.h"

namespace rtfq::test {

/// Two classes of 12x12 stripes, upright and lying; the target is the source inverted with more noise.
class Stripes {
 public:
  std::filesystem::path root =
      std::filesystem::temp_directory_path() / ("rtfq-stripes-" + std::to_string(::getpid()));
  explicit Stripes(int images = 40) {
    std::filesystem::remove_all(root);
    for (const char* domain : {"source", "target"})
      for (int label = 0; label < 2; ++label) {
        const std::filesystem::path folder = root / domain / std::to_string(label);
        std::filesystem::create_directories(folder);
        for (int i = 0; i < images; ++i)
          draw(folder / (std::to_string(i) + ".png"), label, domain[0] == 't', i);
      }
  }
  ~Stripes() { std::filesystem::remove_all(root); }
  std::string at(const std::string& name) const { return (root / name).string(); }

 private:
  static void draw(const std::filesystem::path& path, int label, bool target, int index) {
    Random random(9, Purpose::test, static_cast<uint64_t>(index), static_cast<uint32_t>(label * 2 + target));
    data::Image image{12, 12, 1, std::vector<uint8_t>(144)};
    const int phase = static_cast<int>(random.below(4));
    for (int y = 0; y < 12; ++y)
      for (int x = 0; x < 12; ++x) {
        const bool on = ((label ? x : y) + phase) % 4 < 2;
        const float value = (on != target ? 200.0f : 60.0f) + (target ? 25.0f : 10.0f) * random.normal();
        image.pixels[image.offset(y, x)] = static_cast<uint8_t>(std::min(255.0f, std::max(0.0f, value)));
      }
    data::save_png(path.string(), image);
  }
};

}  // namespace rtfq::test
