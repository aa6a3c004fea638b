// Every fuzz target (tests/fuzz) over its corpus (tests/corpus), in which each input that once broke one
// stays.
#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

#include "tests/fuzz/fuzz.h"

using namespace rtfq;

#define RTFQ_TARGET(name)                                       \
  extern "C" int fuzz_##name(const uint8_t* data, std::size_t); \
  TEST_CASE("corpus: " #name) {                                 \
    replay(&fuzz_##name, #name);                                \
  }

namespace {

using Target = int (*)(const uint8_t*, std::size_t);

/// What the target found wrong, or nothing. The bytes are a block of their own, for the address sanitizer.
std::string run(Target target, const std::string& input, std::size_t size) {
  const std::vector<uint8_t> bytes(input.begin(), input.begin() + static_cast<std::ptrdiff_t>(size));
  try {
    target(bytes.data(), bytes.size());
  } catch (const fuzz::Broken& broken) {
    return broken.what;
  }
  return "";
}

void replay(Target target, const std::string& name) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(RTFQ_SOURCE_DIR "/tests/corpus/" + name))
    files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  REQUIRE(files.size() >= 2);
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    const std::string input{std::istreambuf_iterator<char>(in), {}};
    INFO(file);
    CHECK(run(target, input, input.size()) == "");
    // Cut off too: at each of the first bytes, then here and there.
    for (std::size_t size = 0; size < input.size(); size += size < 64 ? 1 : input.size() / 64 + 1) {
      INFO(size << " bytes of it");
      CHECK(run(target, input, size) == "");
    }
  }
}

}  // namespace

RTFQ_TARGET(config)
RTFQ_TARGET(image)
RTFQ_TARGET(list)
RTFQ_TARGET(log)
RTFQ_TARGET(npy)
RTFQ_TARGET(packed)
RTFQ_TARGET(plugin)
RTFQ_TARGET(safetensors)
RTFQ_TARGET(torch)
