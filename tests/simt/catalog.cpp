// The catalog's small cases for every implementation in kernels/cuda, by the executor, under several
// schedules. Codes, values and everything computed from exact data must be right to the bit under each.
#include "kernels/catalog/catalog.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>
#include <set>
#include <sstream>

#include "kernels/simt/executor.h"

using namespace rtfq;
using namespace rtfq::kernels;

namespace {

/// A case moves less than this; what lies above repeats code paths of smaller ones.
constexpr double most_bytes = 4e6;

#ifdef __SANITIZE_ADDRESS__
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif
/// Convolutions have so many implementations that under sanitizers, which look at every access whatever the
/// schedule, one order of threads and the smaller cases are what there is time for.
constexpr double most_sanitized_operations = 4e6;

/// Of an operator that has no kernels in kernels/cuda: none.
std::vector<std::string> on_simt(const catalog::Instance& instance) {
  try {
    return instance.implementations(Backend::simt);
  } catch (const std::runtime_error&) {
    return {};
  }
}

/// A number from the environment: RTFQ_SIMT_SCHEDULES=1000 asks for more than a test run has time for,
/// RTFQ_SIMT_MOST_OPERATIONS=1e6 leaves larger cases out.
double wanted(const char* variable, double usual) {
  const char* text = std::getenv(variable);
  return text && *text ? std::max(1.0, std::stod(text)) : usual;
}

/// RTFQ_SIMT_IMPLEMENTATIONS=f32,mma in the environment: only those whose names start so.
bool is_wanted(const std::string& name) {
  const char* text = std::getenv("RTFQ_SIMT_IMPLEMENTATIONS");
  if (!text || !*text) return true;
  std::istringstream prefixes(text);
  for (std::string prefix; std::getline(prefixes, prefix, ',');)
    if (name.rfind(prefix, 0) == 0) return true;
  return false;
}

/// Buffers between guard pages, so that reading far outside ends the process.
struct GuardPages {
  GuardPages() { catalog::guard_pages(true); }
  ~GuardPages() { catalog::guard_pages(false); }
};

/// The types that a case's name and shape speak of: kernels are compiled for each.
std::string types_of(const catalog::Entry& entry, const catalog::Instance& instance) {
  const std::string text = entry.case_name + " " + instance.description();
  std::string types;
  for (const char* type : {"bf16", "_f16", " f16", "u8", "s8", "s32"})
    if (text.find(type) != std::string::npos) types += type;
  return types;
}

/// Of what is bound by memory, more elements than a block takes.
constexpr double several_blocks = 3e4;

/// RTFQ_SIMT_CASES=1 in the environment: of each implementation and types of operands the cheapest case of
/// several blocks alone, so that there is time for many schedules. Cases by name, with the implementations
/// that are to run them.
std::map<std::string, std::set<std::string>> cheapest(const std::string& prefix, std::size_t wanted_cases) {
  std::map<std::string, std::multimap<double, std::pair<std::string, std::string>>> by_kernel;
  for (const auto& entry : catalog::entries()) {
    if (entry.large || entry.op.rfind(prefix, 0) != 0) continue;
    const auto instance = entry.make();
    for (const auto& name : on_simt(*instance))
      if (instance->unsupported(Backend::simt, name).empty())
        by_kernel[entry.op + name + types_of(entry, *instance)].emplace(
            instance->cost().operations, std::pair(entry.op + " " + entry.case_name, name));
  }
  std::map<std::string, std::set<std::string>> chosen;
  for (const auto& [kernel, cases] : by_kernel) {
    std::size_t left = wanted_cases;
    auto one = cases.lower_bound(several_blocks);
    if (one == cases.end()) one = std::prev(cases.end());
    for (; one != cases.end() && left > 0; ++one, --left)
      chosen[one->second.first].insert(one->second.second);
  }
  return chosen;
}

/// Each operator of the family must have kernels, and all of them must run.
void check_family(const std::string& prefix, int usual_schedules) {
  const simt::ScopedOptions scope;
  const GuardPages pages;
  const auto cases = static_cast<std::size_t>(wanted("RTFQ_SIMT_CASES", 0));
  const auto chosen = cases ? cheapest(prefix, cases) : std::map<std::string, std::set<std::string>>{};
  const bool fewer = sanitized && prefix.rfind("conv2d.", 0) == 0;
  const int schedules = static_cast<int>(wanted("RTFQ_SIMT_SCHEDULES", fewer ? 1 : usual_schedules));
  const double most_operations =
      wanted("RTFQ_SIMT_MOST_OPERATIONS", fewer ? most_sanitized_operations : 1e18);
  std::size_t ran = 0;
  for (const auto& entry : catalog::entries()) {
    if (entry.large || entry.op.rfind(prefix, 0) != 0) continue;
    const auto mine = chosen.find(entry.op + " " + entry.case_name);
    if (cases && mine == chosen.end()) continue;
    const auto instance = entry.make();
    const Cost cost = instance->cost();
    if (cost.bytes > most_bytes || cost.operations > most_operations) continue;
    const auto names = on_simt(*instance);
    INFO(entry.op << " " << entry.case_name);
    CHECK_FALSE(names.empty());
    for (const auto& name : names) {
      if (!is_wanted(name) || !instance->unsupported(Backend::simt, name).empty()) continue;
      if (cases && !mine->second.count(name)) continue;
      for (int i = 0; i < schedules; ++i) {
        simt::options().seed = static_cast<uint64_t>(1 + i);
        std::string message;
        try {
          message = instance->verify(Backend::simt, name).message;
        } catch (const simt::Error& error) {
          message = error.what();
        }
        INFO("by " << name << ", seed " << i + 1 << ": " << message);
        CHECK(message.empty());
        ++ran;
      }
    }
  }
  INFO("operators starting with " << prefix);
  REQUIRE(ran > 0);
}

}  // namespace

TEST_CASE("catalog on simt: fakequant") {
  check_family("fakequant.", 3);
}
TEST_CASE("catalog on simt: int4") {
  check_family("int4.", 2);
}
TEST_CASE("catalog on simt: elementwise") {
  check_family("relu.", 3);
  check_family("add", 3);
  check_family("convert", 2);
}
TEST_CASE("catalog on simt: image") {
  check_family("normalize", 2);
  check_family("resize", 2);
}
TEST_CASE("catalog on simt: optimizer") {
  check_family("optimizer.", 3);
}
TEST_CASE("catalog on simt: loss") {
  check_family("softmax", 3);
  check_family("loss.", 3);
}
TEST_CASE("catalog on simt: codes, running statistics, answers") {
  check_family("dequantize", 3);
  check_family("scale_product", 3);
  check_family("batchnorm.running", 3);
  check_family("batchnorm.moments", 3);
  check_family("batchnorm.joint", 3);
  check_family("accumulate", 3);
  check_family("answers.", 3);
}
TEST_CASE("catalog on simt: linear") {
  check_family("linear.", 2);
}
TEST_CASE("catalog on simt: conv2d.forward") {
  check_family("conv2d.forward", 2);
}
TEST_CASE("catalog on simt: conv2d.dgrad") {
  check_family("conv2d.dgrad", 2);
}
TEST_CASE("catalog on simt: conv2d.wgrad") {
  check_family("conv2d.wgrad", 2);
}
TEST_CASE("catalog on simt: convstatistics") {
  check_family("convstatistics.", 2);
}
TEST_CASE("catalog on simt: pool") {
  check_family("maxpool.", 2);
  check_family("avgpool.", 2);
}
TEST_CASE("catalog on simt: batchnorm") {
  check_family("batchnorm.", 2);
}
TEST_CASE("catalog on simt: normquant") {
  check_family("normquant.", 2);
}
TEST_CASE("catalog on simt: convquant") {
  check_family("convquant.", 2);
}
