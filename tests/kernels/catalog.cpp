// Every implementation of every operator against the catalog's fp64 reference. One test case an operator
// family; a failure prints the command that repeats it.
#include "kernels/catalog/catalog.h"

#include <catch2/catch.hpp>
#include <set>

using namespace rtfq::kernels;

namespace {

/// Every implementation; returns how many there are.
int check_entry(const catalog::Entry& entry) {
  int ran = 0;
  for (const auto& name : entry.make()->implementations(Backend::cpu)) {
    const auto instance = entry.make();
    if (!instance->unsupported(Backend::cpu, name).empty()) continue;
    const auto verdict = instance->verify(Backend::cpu, name);
    INFO(entry.op << " " << entry.case_name << " by " << name << ": " << verdict.message);
    CHECK(verdict.ok);
    ++ran;
  }
  return ran;
}

void check_family(const std::string& prefix) {
  INFO("repeat: test_kernels 'catalog: " << prefix << "'");
  int ran = 0;
  for (const auto& entry : catalog::entries())
    if (!entry.large && entry.op.rfind(prefix, 0) == 0) ran += check_entry(entry);
  INFO("operators starting with " << prefix);
  REQUIRE(ran > 0);
}

}  // namespace

TEST_CASE("catalog: conv2d") {
  check_family("conv2d.");
}
TEST_CASE("catalog: convstatistics") {
  check_family("convstatistics.");
}
TEST_CASE("catalog: linear") {
  check_family("linear.");
}
TEST_CASE("catalog: fakequant") {
  check_family("fakequant.");
}
TEST_CASE("catalog: batchnorm") {
  check_family("batchnorm.");
}
TEST_CASE("catalog: normquant") {
  check_family("normquant.");
}
TEST_CASE("catalog: convquant") {
  check_family("convquant.");
}
TEST_CASE("catalog: int4") {
  check_family("int4.");
}
TEST_CASE("catalog: elementwise") {
  check_family("relu.");
  check_family("add");
  check_family("convert");
}
TEST_CASE("catalog: pool") {
  check_family("maxpool.");
  check_family("avgpool.");
}
TEST_CASE("catalog: image") {
  check_family("normalize");
  check_family("resize");
}
TEST_CASE("catalog: loss") {
  check_family("softmax");
  check_family("loss.");
}
TEST_CASE("catalog: optimizer") {
  check_family("optimizer.");
}

TEST_CASE("catalog: codes, running statistics, answers") {
  check_family("dequantize");
  check_family("scale_product");
  check_family("accumulate");
  check_family("answers.");
}

TEST_CASE("catalog: sums over as many rows as a real network has") {
  int ran = 0;
  for (const auto& entry : catalog::entries())
    if (entry.op == "batchnorm.reduce" && entry.case_name == "64x28x28x512") ran += check_entry(entry);
  REQUIRE(ran > 0);
}

TEST_CASE("catalog: names are unique within an operator") {
  std::set<std::string> seen;
  for (const auto& entry : catalog::entries()) CHECK(seen.insert(entry.op + "/" + entry.case_name).second);
}
