// What nvcc said of kernels/cuda when this build compiled it for sm_80 and sm_90a (kernels/cuda.cmake).
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>

#include "tests/support/skip.h"

namespace fs = std::filesystem;

TEST_CASE("nvcc: every CUDA kernel compiles for sm_80 and sm_90a and none spills registers") {
  if (!RTFQ_HAS_NVCC) return rtfq::test::skip("there was no nvcc when this build was configured");
  std::size_t sources = 0;
  for (const auto& file : fs::directory_iterator(RTFQ_SOURCE_DIR "/kernels/cuda")) {
    if (file.path().extension() != ".cu") continue;
    ++sources;
    const fs::path log = fs::path(RTFQ_CUDA_CHECK) / (file.path().stem().string() + ".log");
    INFO(log.string());
    REQUIRE(fs::exists(log));
    CHECK(fs::last_write_time(log) >= fs::last_write_time(file.path()));
    std::ifstream in(log);
    std::size_t kernels = 0;
    std::string line, kernel;
    bool both[2] = {};
    const std::regex entry(R"(.*Compiling entry function '(\S+)' for '(sm_80|sm_90a)')");
    const std::regex spills(R"(.*?(\d+) bytes spill stores, (\d+) bytes spill loads.*)");
    for (std::smatch match; std::getline(in, line);) {
      if (std::regex_match(line, match, entry)) {
        kernel = match[1];
        both[match[2] == "sm_90a"] = true;
        ++kernels;
      } else if (std::regex_match(line, match, spills)) {
        INFO(kernel);
        CHECK(match[1] == "0");
        CHECK(match[2] == "0");
      }
    }
    if (file.path().stem().string().find("_lists") != std::string::npos) continue;
    CHECK(kernels >= 2);
    CHECK((both[0] && both[1]));
  }
  CHECK(sources >= 5);
}
