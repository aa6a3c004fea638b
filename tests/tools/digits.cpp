// Real digits, where RTFQ_DATA names a folder that holds digits/mnist and digits/usps.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "data/dataset.h"
#include "tests/support/skip.h"
#include "tests/tools/command.h"

using namespace rtfq;
using nlohmann::json;
using test::Outcome;
using test::Workplace;

namespace {

/// Empty, and the test case skipped, without them.
std::string digits() {
  const char* folder = std::getenv("RTFQ_DATA");
  if (folder && *folder) return std::string(folder) + "/digits";
  test::skip("RTFQ_DATA is not set: it names a folder with digits/mnist and digits/usps");
  return {};
}

}  // namespace

TEST_CASE("digits: both sets open with their ten classes and all images") {
  const std::string root = digits();
  if (root.empty()) return;
  const data::Dataset mnist = data::open_dataset(root + "/mnist"), usps = data::open_dataset(root + "/usps");
  CHECK(mnist.samples.size() == 10000);
  CHECK(usps.samples.size() == 9298);
  CHECK(mnist.classes == usps.classes);
  REQUIRE(mnist.classes.size() == 10);
  for (int digit = 0; digit < 10; ++digit)
    CHECK(mnist.classes[static_cast<std::size_t>(digit)] == std::to_string(digit));
}

TEST_CASE("digits: MNIST to USPS trains") {
  const std::string root = digits();
  if (root.empty()) return;
  const Workplace place;
  // One step in full precision, one quantized, three that adapt.
  const std::vector<std::string> settings{"data.source=" + root + "/mnist",
                                          "data.target=" + root + "/usps",
                                          "train.steps=5",
                                          "train.float_steps=1",
                                          "train.source_steps=1",
                                          "train.calibration_images=64"};
  std::vector<std::string> arguments{"train", "mnist-usps", "--out", place.at("run")};
  for (const std::string& setting : settings) {
    arguments.emplace_back("--set");
    arguments.push_back(setting);
  }
  const Outcome outcome = place.rtfq(arguments);
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  CHECK(place.logged_steps("run") == test::steps_to(5));
  std::ifstream log(place.at("run/log.jsonl"));
  std::size_t adapting = 0;
  for (std::string line; std::getline(log, line);) {
    const json entry = json::parse(line);
    CHECK(std::isfinite(entry["loss"].get<double>()));
    if (entry["phase"] != "adapt") continue;
    ++adapting;
    CHECK(entry["images"] == 128);
    CHECK(entry["terms"].size() >= 4);
  }
  CHECK(adapting == 3);
}
