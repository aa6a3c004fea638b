#pragma once
// What fuzz targets share. A target calls a parser with bytes that a fuzzer has made up; the parser may
// refuse them with an error for people, and nothing else may come out of it: no crash, no leak, no other
// exception, no memory beyond what a file of that size may ask for (Memory), and nothing accepted that does
// not hold what its caller relies on. Built without clang as well, where a test runs each target over its
// corpus (tests/parsers).

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

extern "C" {
__attribute__((weak)) int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void*,
                                                                             std::size_t),
                                                                    void (*)(const volatile void*));
__attribute__((weak)) std::size_t __sanitizer_get_allocated_size(const volatile void*);
}

namespace rtfq::fuzz {

/// No std::exception, so that nobody takes it for an error of the parser: libFuzzer ends and keeps the input.
struct Broken {
  std::string what;
};

[[noreturn]] inline void broken(const std::string& what) {
  std::fprintf(stderr, "fuzz: %s\n", what.c_str());
  throw Broken{what};
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

/// While it lives, what the process has allocated besides may reach `factor` times the input and a few MiB: the
/// first allocation beyond ends the process. Needs the address sanitizer's hooks, and does nothing without.
class Memory {
 public:
  Memory(std::size_t input, std::size_t factor, std::size_t base = std::size_t{4} << 20) {
    static const bool installed = &__sanitizer_install_malloc_and_free_hooks != nullptr &&
                                  &__sanitizer_get_allocated_size != nullptr &&
                                  __sanitizer_install_malloc_and_free_hooks(&taken, &given_back) > 0;
    (void)installed;
    in_use = 0;
    limit = static_cast<int64_t>(base + factor * input);
  }
  ~Memory() { limit = INT64_MAX; }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

 private:
  static void taken(const volatile void*, std::size_t size) {
    const int64_t now = in_use += static_cast<int64_t>(size);
    if (now <= limit) return;
    limit = INT64_MAX;  // saying so allocates
    std::fprintf(stderr, "fuzz: %lld bytes of memory for one input, the last %zu of them at once\n",
                 static_cast<long long>(now), size);
    std::abort();
  }
  static void given_back(const volatile void* block) {
    in_use -= static_cast<int64_t>(__sanitizer_get_allocated_size(block));
  }
  static inline std::atomic<int64_t> in_use = 0, limit = INT64_MAX;
};

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
