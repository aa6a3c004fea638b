#pragma once
// A folder of a test's own, removed at its end, and files to put there.

#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "data/image.h"

namespace rtfq::test {

class Folder {
 public:
  Folder() {
    static std::atomic<int> counter{0};
    path_ = std::filesystem::temp_directory_path() /
            ("rtfq-data-" + std::to_string(getpid()) + "-" + std::to_string(counter++));
    std::filesystem::create_directories(path_);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string path(const std::string& name = {}) const {
    return name.empty() ? path_.string() : (path_ / name).string();
  }
  std::string write(const std::string& name, const std::string& bytes) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return path(name);
  }
  std::string write(const std::string& name, const data::Image& image) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    data::save_png(path(name), image);
    return path(name);
  }

 private:
  std::filesystem::path path_;
};

inline std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline data::Image constant(int height, int width, int channels, uint8_t value) {
  return {
      height, width, channels,
      std::vector<uint8_t>(
          static_cast<size_t>(height) * static_cast<size_t>(width) * static_cast<size_t>(channels), value)};
}

/// A pattern without symmetry, different for every seed.
inline data::Image pattern(int height, int width, int channels, uint32_t seed = 1) {
  data::Image image = constant(height, width, channels, 0);
  uint32_t state = seed * 2654435761u + 12345u;
  for (uint8_t& value : image.pixels) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<uint8_t>(state >> 24);
  }
  return image;
}

/// The message of what `call` throws; "" when it throws nothing.
template <typename Call>
std::string message(Call&& call) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  return {};
}

}  // namespace rtfq::test
