// `rtfq benchmark` on tiny fakes of the data sets, in their real layouts: killed, resumed, to the table.
#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <thread>

#include "tests/tools/command.h"

using Catch::Matchers::Contains;
using nlohmann::json;
using rtfq::test::contents;
using rtfq::test::Outcome;
using rtfq::test::Process;
using rtfq::test::Workplace;
namespace fs = std::filesystem;

namespace {

/// Two classes of stripes as the domains of a data set, by turns one side of the shift and the other.
class Fake : public Workplace {
 public:
  explicit Fake(const std::vector<std::string>& folders,
                const std::vector<std::string>& classes = {"0", "1"}) {
    for (std::size_t i = 0; i < folders.size(); ++i)
      for (std::size_t k = 0; k < 2; ++k) {
        const fs::path to = root / "set" / folders[i] / classes[k];
        fs::create_directories(to.parent_path());
        fs::copy(root / (i % 2 ? "target" : "source") / std::to_string(k), to);
      }
  }
  std::vector<std::string> benchmark(const std::string& name,
                                     const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words{"benchmark", name,      "--root",  at("set"),
                                   "--out",     at("out"), "--steps", "8"};
    for (const char* setting :
         {"model.arch=resnet14_small", "data.channels=1", "data.mean=[0.5]", "data.deviation=[0.5]",
          "data.resize=14", "data.threads=1", "data.augmentation.saturation=0", "data.augmentation.hue=0",
          R"(bank={"widths":[1,0.5],"depths":[1],"resolutions":[12],"bits":[8,4],"multiple":8})",
          "train.batch=4", "train.checkpoint_every=2", "train.calibration_images=8", "train.report_every=0",
          "threads=1"})
      words.insert(words.end(), {"--set", setting});
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  std::string out(const std::string& path) const { return contents(at("out/" + path)); }

  /// Killed once the first run is in its steps; then to the end.
  Outcome killed_and_resumed(const std::vector<std::string>& words, const std::string& first) const {
    const Process killed(root, words);
    const std::string log = "out/runs/" + first + "/seed1/log.jsonl";
    bool seen = false;
    for (int i = 0; i < 10000 && !seen; ++i) {
      seen = contents(at(log)).find("\"step\":3,") != std::string::npos;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    REQUIRE(seen);
    killed.signal(SIGKILL);
    killed.wait();
    return rtfq(words);
  }
};

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++found;
  return found;
}

}  // namespace

TEST_CASE("benchmark: office31, killed and resumed, to the table beside published numbers") {
  const Fake place({"amazon/images", "dslr/images", "webcam/images"}, {"back_pack", "mug"});
  const auto words = place.benchmark(
      "office31", {"--methods", "rtfq,rtff", "--tasks", "A2W,w2d", "--set", "data.resize_mode=squash"});
  const Outcome listed = place.rtfq([&] {
    auto all = words;
    all.push_back("--list");
    return all;
  }());
  INFO(listed.err);
  REQUIRE(listed.status == 0);
  CHECK(count(listed.out, "\n") == 4);
  CHECK_THAT(listed.err, Contains("Amazon: 24 images, expected 2,817: 2,793 missing") &&
                             Contains("2 classes, expected 31") && Contains("no --checkpoint"));
  CHECK_FALSE(fs::exists(place.at("out")));

  const Outcome done = place.killed_and_resumed(words, "A2W/rtfq");
  INFO(done.err);
  REQUIRE(done.status == 0);
  CHECK_THAT(done.err, Contains("going on after step"));
  const std::string report = place.out("report.md");
  CHECK_THAT(report, Contains("4 of 4 runs are finished") && Contains("Amazon to Webcam: largest") &&
                         Contains("mean over tasks: largest") &&
                         Contains("| MDD, ResNet-50, full precision (published) |  |  | 89.6 |") &&
                         Contains("squashed to 14 x 14") && Contains("To stand beside: source only") &&
                         Contains("plots/methods.svg") && Contains("rtfq benchmark office31 --root"));
  // Under every table: what it was measured on.
  CHECK(count(report, "last model, no target label used") == count(report, "\n## ") - 3 - 2);
  CHECK(place.logged_steps("out/runs/A2W/rtfq/seed1") == rtfq::test::steps_to(8));
  // Tables from what is there, without the data.
  const Outcome collected = place.rtfq({"benchmark", "office31", "--out", place.at("out"), "--collect"});
  INFO(collected.err);
  CHECK(collected.status == 0);
}

TEST_CASE("benchmark: office-home, pacs and digits, killed and resumed") {
  SECTION("office-home, in an archive's folder") {
    const Fake place({"OfficeHomeDataset_10072016/Art", "OfficeHomeDataset_10072016/Clipart",
                      "OfficeHomeDataset_10072016/Product", "OfficeHomeDataset_10072016/Real World"},
                     {"Alarm_Clock", "Mug"});
    const Outcome done = place.killed_and_resumed(
        place.benchmark("office-home", {"--methods", "rtfq", "--tasks", "Ar2Cl,Rw2Pr"}), "Ar2Cl/rtfq");
    INFO(done.err);
    REQUIRE(done.status == 0);
    CHECK_THAT(place.out("report.md"),
               Contains("2 of 2 runs are finished") && Contains("SlimDA, full precision (published)"));
  }
  SECTION("pacs without sketch") {
    const Fake place({"PACS/kfold/photo", "PACS/kfold/art_painting", "PACS/kfold/cartoon"});
    const Outcome done =
        place.killed_and_resumed(place.benchmark("pacs", {"--methods", "source-only"}), "A2C/source-only");
    INFO(done.err);
    REQUIRE(done.status == 0);
    CHECK_THAT(done.err, Contains("sketch is missing") &&
                             Contains("left out, since a domain is missing: A2S, C2S, P2S, S2A, S2C, S2P"));
    CHECK_THAT(place.out("report.md"), Contains("6 of 6 runs are finished") && Contains("Tasks left out"));
  }
  SECTION("digits") {
    const Fake place({"MNIST", "usps"});
    const Outcome done = place.killed_and_resumed(
        place.benchmark("digits", {"--methods", "rtfq", "--tasks", "M2U"}), "M2U/rtfq");
    INFO(done.err);
    REQUIRE(done.status == 0);
    CHECK_THAT(place.out("report.md"), Contains("1 of 1 runs are finished") && Contains("SHOT"));
  }
}

TEST_CASE("benchmark: domainnet by its lists, killed and resumed, measured on the test images") {
  const Fake place({"clipart", "real"});
  for (const std::string domain : {"clipart", "real"}) {
    std::string train, test;
    for (int k = 0; k < 2; ++k)
      for (int i = 0; i < 12; ++i)
        (i < 9 ? train : test) +=
            domain + "/" + std::to_string(k) + "/" + std::to_string(i) + ".png " + std::to_string(k) + "\n";
    place.write("set/" + domain + "_train.txt", train);
    place.write("set/" + domain + "_test.txt", test);
  }
  const Outcome done = place.killed_and_resumed(
      place.benchmark("domainnet", {"--methods", "rtfq", "--tasks", "c2r"}), "c2r/rtfq");
  INFO(done.err);
  REQUIRE(done.status == 0);
  CHECK_THAT(place.out("report.md"), Contains("clipart (18 + 6 for the test"));
  CHECK_THAT(place.out("runs/c2r/rtfq/seed1/config.jsonc"), Contains("real_test.txt"));
  // Six test images: accuracies are sixths.
  for (const json& row : json::parse(place.out("runs/c2r/rtfq/seed1/subnets.json"))) {
    const double sixths = row["accuracy"].get<double>() * 6 / 100;
    CHECK(std::abs(sixths - std::round(sixths)) < 1e-9);
  }
}

TEST_CASE("benchmark: visda's accuracy is the mean over the classes") {
  const Fake place({"train", "validation"}, {"aeroplane", "truck"});
  // Nine of twelve of one class away: the two figures differ.
  for (int i = 3; i < 12; ++i) fs::remove(place.root / "set/validation/truck" / (std::to_string(i) + ".png"));
  const Outcome done = place.killed_and_resumed(place.benchmark("visda", {"--methods", "rtfq"}), "S2R/rtfq");
  INFO(done.err);
  REQUIRE(done.status == 0);
  const std::string report = place.out("report.md"), table = place.out("tables/subnets.csv");
  CHECK_THAT(report, Contains("averaged over the classes") && Contains("mean over the classes of each"));
  bool differs = false;
  for (const json& row : json::parse(place.out("runs/S2R/rtfq/seed1/subnets.json"))) {
    char text[40];
    std::snprintf(text, sizeof text, "%.10g", row["class_accuracy"].get<double>());
    const std::string line = table.substr(table.find(row["id"].get<std::string>()));
    CHECK_THAT(line.substr(0, line.find('\n')), Contains(std::string(",") + text + ","));
    differs |= row["class_accuracy"] != row["accuracy"];
  }
  CHECK(differs);
}

TEST_CASE("train --dataset stands for a configuration") {
  const Fake place({"amazon", "webcam"}, {"back_pack", "mug"});
  std::vector<std::string> words{
      "train",         "-d",    "office31",     "-s", "A", "-t", "webcam", "-a", "resnet14_small", "--root",
      place.at("set"), "--out", place.at("run")};
  auto settings = place.benchmark("office31");
  for (std::size_t i = 0; i + 1 < settings.size(); ++i)
    if (settings[i] == "--set") words.insert(words.end(), {"--set", settings[i + 1]});
  words.insert(words.end(),
               {"--set", "train.steps=4", "--set", "train.float_steps=1", "--set", "train.source_steps=1"});
  const Outcome trained = place.rtfq(words);
  INFO(trained.err);
  REQUIRE(trained.status == 0);
  CHECK_THAT(trained.err,
             Contains("this stands for:") && Contains("rtfq train pacs --set model.arch=resnet14_small"));
  // What is printed is a configuration, the one of the run.
  CHECK(trained.out == contents(place.at("run/config.jsonc")));
  place.write("printed.jsonc", trained.out);
  CHECK(place.rtfq({"config", place.at("printed.jsonc")}).status == 0);

  const auto why = [&](const std::vector<std::string>& arguments) {
    const Outcome outcome = place.rtfq(arguments);
    CHECK(outcome.status == 2);
    return outcome.err;
  };
  CHECK_THAT(why({"train", "-d", "office31", "-s", "A", "-t", "W", "--out", place.at("x")}),
             Contains("needs --root"));
  CHECK_THAT(why({"train", "-d", "office31", "-s", "A", "-t", "X", "--root", place.at("set"), "--out",
                  place.at("x")}),
             Contains("has no domain 'X'"));
  CHECK_THAT(why({"train", "-d", "office31", "-s", "A", "-t", "D", "--root", place.at("set"), "--out",
                  place.at("x")}),
             Contains("domain D of Office-31 is missing"));
  CHECK_THAT(why({"train", "--out", place.at("x")}), Contains("name a configuration"));
  CHECK_THAT(why(place.benchmark("office32")), Contains("did you mean 'office31'"));
  CHECK_THAT(why(place.benchmark("office31", {"--tasks", "D2W"})), Contains("no task is left"));
}
