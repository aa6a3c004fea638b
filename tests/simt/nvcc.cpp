// What nvcc said of kernels/cuda when this build compiled it for sm_80 and sm_90a (kernels/cuda.cmake).
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/skip.h"

namespace fs = std::filesystem;

namespace {

/// The instructions that tools/nvcc_check found in a kernel.
struct Kernel {
  std::string target, name;
  std::map<std::string, int> count;
};

std::vector<Kernel> disassembled(const std::string& source) {
  std::ifstream in(fs::path(RTFQ_CUDA_CHECK) / (source + ".log"));
  std::vector<Kernel> kernels;
  for (std::string line, word; std::getline(in, line);) {
    if (line.rfind("sass ", 0) != 0) continue;
    std::istringstream words(line.substr(5));
    Kernel& kernel = kernels.emplace_back();
    words >> kernel.target >> kernel.name;
    while (words >> word) {
      const auto equals = word.find('=');
      REQUIRE(equals != std::string::npos);
      kernel.count[word.substr(0, equals)] = std::stoi(word.substr(equals + 1));
    }
  }
  return kernels;
}

}  // namespace

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

TEST_CASE("nvcc: kernels for tensor cores use them, and fast kernels no local memory") {
  if (!RTFQ_HAS_NVCC) return rtfq::test::skip("there was no nvcc when this build was configured");
  if (!RTFQ_HAS_CUOBJDUMP)
    return rtfq::test::skip("there was no cuobjdump when this build was configured: tools/setup fetches it");
  // Every kernel of these sources: products of matrices, and operands on their way to shared memory 16 bytes
  // at a time behind the threads' back. `loads`: how fragments come to registers, where it is by matrices;
  // ldmatrix transposes none of f32. wgmma exists on sm_90a alone, elsewhere its kernels are never started.
  struct Expected {
    const char *source, *product, *loads = nullptr;
    bool hopper = false;
  };
  for (const auto& [source, product, loads, hopper] :
       {Expected{"conv2d_mma_bf16", "HMMA", "LDSM"}, Expected{"conv2d_mma_codes", "IMMA", "LDSM"},
        Expected{"conv2d_mma_tf32", "HMMA", "LDSM"}, Expected{"convquant_mma", "IMMA", "LDSM"},
        Expected{"convstatistics_mma_bf16", "HMMA", "LDSM"},
        Expected{"convstatistics_mma_codes", "IMMA", "LDSM"},
        Expected{"convstatistics_mma_tf32", "HMMA", "LDSM"}, Expected{"conv2d_wgrad_mma", "HMMA", "LDSM"},
        Expected{"conv2d_wgrad_tf32", "HMMA"}, Expected{"conv2d_wgmma_bf16", "HGMMA", nullptr, true},
        Expected{"conv2d_wgmma_codes", "IGMMA", nullptr, true},
        Expected{"conv2d_wgmma_wgrad", "HGMMA", nullptr, true}}) {
    int on[2] = {};
    for (const Kernel& kernel : disassembled(source)) {
      INFO(source << ", " << kernel.target << ": " << kernel.name);
      ++on[kernel.target == "sm_90a"];
      if (hopper && kernel.target != "sm_90a") continue;
      CHECK(kernel.count.at(product) > 0);
      CHECK(kernel.count.at("LDGSTS") > 0);
      if (loads) CHECK(kernel.count.at(loads) > 0);
    }
    INFO(source);
    CHECK(on[0] >= 3);
    CHECK(on[1] == on[0]);
  }
  std::size_t kernels = 0;
  for (const auto& file : fs::directory_iterator(RTFQ_SOURCE_DIR "/kernels/cuda")) {
    if (file.path().extension() != ".cu") continue;
    for (const Kernel& kernel : disassembled(file.path().stem().string())) {
      if (kernel.name.find("naive") != std::string::npos) continue;
      INFO(kernel.target << ": " << kernel.name);
      CHECK(kernel.count.at("LDL") == 0);
      CHECK(kernel.count.at("STL") == 0);
      ++kernels;
    }
  }
  CHECK(kernels >= 400);
}
