#pragma once
// What fuzz targets share. A target calls a parser with bytes that a fuzzer has made up; the parser may
// refuse them with an error for people, and nothing else may come out of it: no crash, no leak, no other
// exception, no memory beyond what the run allows (tests/fuzz/run), and nothing accepted that does not hold
// what its caller relies on.

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

namespace rtfq::fuzz {

/// Ends the run: libFuzzer keeps the input.
[[noreturn]] inline void broken(const std::string& what) {
  std::fprintf(stderr, "fuzz: %s\n", what.c_str());
  std::abort();
}

inline void require(bool holds, const char* what) {
  if (!holds) broken(what);
}

/// Runs a parser. An error is one for people when it is a runtime_error or an invalid_argument whose message
/// begins by its origin, "[config] ..."; `bare`: parsers whose caller adds that. Whatever else is thrown ends
/// the run.
template <class Parse>
bool accepts(const Parse& parse, bool bare = false) {
  const auto judge = [&](const std::exception& error) {
    const std::string text = error.what();
    if (text.empty() || (!bare && text[0] != '[')) broken("an error that is not for people: " + text);
  };
  try {
    parse();
    return true;
  } catch (const std::runtime_error& error) {
    judge(error);
  } catch (const std::invalid_argument& error) {
    judge(error);
  }
  return false;
}

/// A folder in memory for parsers that open files themselves.
class Folder {
 public:
  Folder() {
    const bool memory = std::filesystem::exists("/dev/shm");
    root_ = (memory ? "/dev/shm" : std::filesystem::temp_directory_path().string()) + "/rtfq-fuzz-" +
            std::to_string(::getpid());
    std::filesystem::create_directories(root_);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  std::string path(const char* name) const { return root_ + "/" + name; }
  std::string write(const char* name, const std::string& bytes) const {
    std::ofstream(path(name), std::ios::binary) << bytes;
    return path(name);
  }
  std::string read(const char* name) const {
    std::ifstream in(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

 private:
  std::string root_;
};

inline const Folder& folder() {
  static const Folder one;
  return one;
}

inline std::string text_of(const uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace rtfq::fuzz
