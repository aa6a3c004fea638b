// From a run to a packed file and its answers, as people do it.
#include <catch2/catch.hpp>
#include <filesystem>

#include "kernels/cpu/features.h"
#include "tests/tools/command.h"

using namespace rtfq;
using Catch::Matchers::Contains;
using nlohmann::json;
using test::Outcome;
using test::succeed;
using test::Workplace;

namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// Lines that agree up to the probability.
std::size_t equal_classes(const std::string& a, const std::string& b) {
  const auto left = lines_of(a), right = lines_of(b);
  REQUIRE(left.size() == right.size());
  std::size_t equal = 0;
  for (std::size_t i = 1; i < left.size(); ++i)
    equal += left[i].substr(0, left[i].rfind(',')) == right[i].substr(0, right[i].rfind(','));
  return equal;
}

}  // namespace

TEST_CASE("packed: a run becomes a file that answers as the run does") {
  const Workplace place;
  const std::string run = place.at("run"), bank = place.at("bank.rtfq"), one = place.at("one.rtfq");
  succeed(place, place.train("run", {"--set", "train.steps=30", "--set", "precision=int8"}));
  CHECK_THAT(succeed(place, {"pack", run, "--subnet", "bits=4", "-o", one}).err, Contains("without scores"));
  succeed(place, {"eval", run, "--all"});
  CHECK_THAT(succeed(place, {"pack", run, "--bank", "-o", bank}).err, Contains("4 subnets are in"));
  CHECK(std::filesystem::file_size(one) < std::filesystem::file_size(bank) / 2);

  // Without bf16 between operations the integers are the same, and so every digit of the answers.
  for (const std::string subnet : {"width=1,bits=4", "width=0.5,bits=8"}) {
    INFO(subnet);
    const std::string predicted =
        succeed(place, {"predict", run, place.at("target"), "--subnet", subnet}).out;
    const std::string inferred = succeed(place, {"infer", bank, place.at("target"), "--subnet", subnet}).out;
    if (!kernels::cpu::fast_bf16()) CHECK(inferred == predicted);
    CHECK(equal_classes(inferred, predicted) >= 23);
    CHECK(succeed(place, {"infer", bank, place.at("target"), "--subnet", subnet, "--batch", "7"}).out ==
          inferred);
  }
  const std::string four = succeed(place, {"infer", bank, place.at("target"), "--subnet", "bits=4"}).out;
  CHECK(succeed(place, {"infer", one, place.at("target")}).out == four);
  const std::string agreement = std::string(RTFQ_BINARY) + "-agreement";
  const Outcome agreed =
      test::Process(place.root, {run, place.at("target"), "--subnet", "bits=8", "--subnet", "bits=4"}, -1,
                    agreement.c_str())
          .wait();
  INFO(agreed.err);
  CHECK(agreed.status == 0);
  REQUIRE(lines_of(agreed.out).size() == 2);
  for (const std::string& line : lines_of(agreed.out))
    CHECK_THAT(line, Contains("codes flipped") && (Contains("the class of 24 of 24 images") ||
                                                   Contains("the class of 23 of 24 images")));

  const Outcome top =
      succeed(place, {"infer", one, place.at("target/0/0.png"), place.at("target/1/1.png"), "--top", "2"});
  CHECK(lines_of(top.out).size() == 3);
  CHECK(lines_of(top.out)[0] == "path,class,probability,class2,probability2");
}

TEST_CASE("packed: a file selects, measures and refuses by itself") {
  const Workplace place;
  const std::string run = place.at("run"), bank = place.at("bank.rtfq");
  succeed(place, place.train("run"));
  succeed(place, {"eval", run, "--all"});
  succeed(place, {"pack", run, "--bank", "-o", bank});
  for (const std::string criterion : {"infomax", "target-labels"}) {
    const auto by_run =
        json::parse(succeed(place, {"select", run, "--bitops", "20M", "--criterion", criterion, "--json"})
                        .out)["subnets"][0];
    const auto by_file = json::parse(
        succeed(place, {"select", bank, "--bitops", "20M", "--criterion", criterion, "--json"}).out);
    CHECK(by_file["id"] == by_run["id"]);
    CHECK(by_file["bytes"] == by_run["bytes"]);
  }
  const Outcome timed = succeed(place, {"select", bank, "--latency-ms", "100000", "--json"});
  CHECK(json::parse(timed.out)["latency_ms"].get<double>() > 0);
  CHECK(place.rtfq({"select", bank, "--macs", "1"}).status == 3);
  CHECK(place.rtfq({"select", bank, "--macs", "1M", "--criterion", "taste"}).status == 2);
  CHECK(lines_of(succeed(place, {"measure", bank, "--images", "3"}).out).size() == 6);
  const std::string described = succeed(place, {"info", bank, "--subnet", "bits=4"}).out;
  CHECK_THAT(described, Contains("infomax") && Contains("target-labels") && Contains("classifier") &&
                            Contains("s8, 4 bits") && !Contains("f32"));
  CHECK(place.rtfq({"info", bank, "--subnet", "bits=3"}).status == 2);
  CHECK(place.rtfq({"info", run, "--subnet", "bits=4"}).status == 2);
  CHECK_THAT(succeed(place, {"infer", bank, place.at("target/0"), "--macs", "2M"}).err, Contains("w0.5"));

  const std::string plot = place.at("switching.svg");
  const std::string switching = succeed(place, {"switch", bank, "--changes", "5", "--plot", plot}).out;
  CHECK_THAT(switching, Contains("a switch takes") && Contains("resident: file"));
  CHECK_THAT(test::contents(plot), Contains("Latency follows the budget") && Contains("</svg>"));

  CHECK(place.rtfq({"pack", run, "-o", place.at("x")}).status == 2);
  CHECK(place.rtfq({"pack", run, "--bank", "--subnet", "bits=4", "-o", place.at("x")}).status == 2);
  CHECK(place.rtfq({"infer", bank, place.at("target"), "--subnet", "bits=3"}).status == 2);
  CHECK(place.rtfq({"infer", bank, place.at("target"), "--subnet", "bits=4", "--macs", "1M"}).status == 2);
  place.write("bad.png", "no image");
  CHECK_THAT(place.rtfq({"infer", bank, place.at("bad.png")}).err, Contains("bad.png"));
  CHECK(
      lines_of(
          succeed(place, {"infer", bank, place.at("bad.png"), place.at("target/0/0.png"), "--skip-bad"}).out)
          .size() == 2);
  const std::string bytes = test::contents(bank);
  place.write("cut.rtfq", bytes.substr(0, bytes.size() / 2));
  const Outcome cut = place.rtfq({"infer", place.at("cut.rtfq"), place.at("target")});
  CHECK(cut.status == 1);
  CHECK_THAT(cut.err, Contains("cut.rtfq") && Contains("cut off"));
}

TEST_CASE("packed: subnets become ONNX files") {
  const Workplace place;
  succeed(place, place.train("run"));
  const std::string run = place.at("run"), four = place.at("4.onnx"), floats = place.at("f32.onnx");
  succeed(place, {"export", run, "--subnet", "bits=4", "--format", "onnx", "-o", four});
  CHECK_THAT(test::contents(four),
             Contains("QuantizeLinear") && Contains("Clip") && Contains("w1-d1-r12-b4"));
  CHECK_THAT(place.rtfq({"export", run, "--full-precision", "--format", "onnx", "-o", floats}).err,
             Contains("bank.bits=[32]"));
  succeed(place, place.train("float", {"--set", "train.method=source_only"}));
  succeed(place, {"export", place.at("float"), "--format", "onnx", "-o", floats});
  CHECK_THAT(test::contents(floats), Contains("Conv") && !Contains("QuantizeLinear"));
  CHECK_THAT(place.rtfq({"export", run, "--format", "tea", "-o", floats}).err, Contains("onnx"));
}
