// What a trained bank is asked: predictions, figures without labels, times, and the subnet for a budget.
#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include "tests/tools/command.h"
#include "tools/csv.h"

using namespace rtfq;
using Catch::Matchers::Contains;
using nlohmann::json;
using test::contents;
using test::Outcome;
using test::succeed;
using test::Workplace;
namespace fs = std::filesystem;

namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> cells_of(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> cells;
  for (std::string cell; std::getline(in, cell, ',');) cells.push_back(cell);
  return cells;
}

/// The target's images in one folder, named by class and number, without class folders.
std::string flat_target(const Workplace& place) {
  fs::create_directories(place.at("flat"));
  for (const char* label : {"0", "1"})
    for (int i = 0; i < 12; ++i) {
      const std::string name = std::to_string(i) + ".png";
      fs::copy_file(place.at("target") + "/" + label + "/" + name,
                    place.at("flat") + "/" + label + "-" + name);
    }
  return place.at("flat");
}

}  // namespace

TEST_CASE("csv: cells are quoted where they must be") {
  CHECK(cli::csv_line({"a b", "c;d", ""}) == "a b,c;d,\n");
  CHECK(cli::csv_line({"a,b", "say \"no\"", "two\nlines"}) == "\"a,b\",\"say \"\"no\"\"\",\"two\nlines\"\n");
}

TEST_CASE("answers: predictions of folders, flat folders and lists") {
  const Workplace place;
  const std::string run = place.at("run");
  succeed(place, place.train("run", {"--set", "train.steps=30"}));
  const Outcome folder = succeed(place, {"predict", run, place.at("target")});
  const auto lines = lines_of(folder.out);
  REQUIRE(lines.size() == 25);
  CHECK(lines[0] == "path,class,probability");
  int right = 0;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const auto cells = cells_of(lines[i]);
    REQUIRE(cells.size() == 3);
    right += fs::path(cells[0]).parent_path().filename() == cells[1];
    CHECK(std::stod(cells[2]) >= 0.5);
    CHECK(std::stod(cells[2]) <= 1);
  }
  // The same subnet and images as eval's: as many are right.
  succeed(place, {"eval", run, "--target-only", "--json", place.at("eval.json")});
  CHECK(json::parse(contents(place.at("eval.json")))[0]["accuracy"].get<double>() == Approx(right / 0.24));

  // Other class folders than the source's do not matter; a comma in a path does.
  fs::create_directories(place.at("a,b/anything"));
  fs::copy(place.at("target/0"), place.at("a,b/anything"));
  const Outcome quoted = succeed(place, {"predict", run, place.at("a,b"), "--subnet", "width=0.5,bits=4"});
  CHECK_THAT(lines_of(quoted.out)[1], Catch::StartsWith("\"" + place.at("a,b")));
  CHECK_THAT(quoted.err, Contains("w0.5-d1-r12-b4 for 12 images"));

  const std::string flat = flat_target(place);
  CHECK(lines_of(succeed(place, {"predict", run, flat}).out).size() == 25);
  place.write("list.txt", "target/0/3.png\ntarget/1/4.png\n");
  const Outcome listed =
      succeed(place, {"predict", run, place.at("list.txt"), "--top", "9", "-o", place.at("out.csv")});
  CHECK(listed.out.empty());
  const auto written = lines_of(contents(place.at("out.csv")));
  REQUIRE(written.size() == 3);
  CHECK(written[0] == "path,class,probability,class2,probability2");
  const auto cells = cells_of(written[1]);
  CHECK(cells[1] != cells[3]);
  CHECK(std::stod(cells[2]) >= std::stod(cells[4]));
  CHECK(std::stod(cells[2]) + std::stod(cells[4]) == Approx(1).margin(2e-6));

  SECTION("an image that cannot be read") {
    std::ofstream(flat + "/1-5.png") << "no image";
    fs::remove(place.at("out.csv"));
    const Outcome stopped = place.rtfq({"predict", run, flat, "-o", place.at("out.csv")});
    CHECK(stopped.status == 1);
    CHECK_THAT(stopped.err, Contains("1-5.png"));
    CHECK_FALSE(fs::exists(place.at("out.csv")));
    const Outcome left_out = succeed(place, {"predict", run, flat, "--skip-bad"});
    CHECK(lines_of(left_out.out).size() == 24);
    CHECK_THAT(left_out.err, Contains("1 of 24 images could not be read") && Contains("1-5.png"));
    CHECK_THAT(left_out.out, !Contains("1-5.png"));
  }
  SECTION("what cannot be meant") {
    CHECK(place.rtfq({"predict", run, flat, "--subnet", "bits=5"}).status == 2);
    CHECK(place.rtfq({"predict", run, flat, "--top", "0"}).status == 2);
    CHECK(place.rtfq({"predict", run, place.at("nowhere")}).status == 1);
    CHECK(place.rtfq({"predict", run}).status == 2);
  }
}

TEST_CASE("answers: a flat target is enough to train, evaluate and choose") {
  const Workplace place;
  const std::string run = place.at("run"), flat = flat_target(place);
  succeed(place, place.train("run", {"--set", "data.target=" + flat, "--set", "data.source_hold_out=3"}));
  const Outcome evaluated = succeed(place, {"eval", run, "--all"});
  CHECK_THAT(evaluated.out, Contains("teacher %") && Contains("information"));
  const json rows = json::parse(contents(run + "/subnets.json"));
  REQUIRE(rows.size() == 4);
  for (const json& row : rows) {
    CHECK(row["accuracy"].is_null());
    CHECK(row["latency_ms"].is_null());
    CHECK(row["source_held_out"] == true);
    // Every third of 24 source images was kept out: accuracies are eighths.
    CHECK(row["source_accuracy"].get<double>() / 12.5 ==
          Approx(std::round(row["source_accuracy"].get<double>() / 12.5)));
    CHECK(row["entropy"].get<double>() >= 0);
    // Concave: the mean prediction is never more certain than the predictions; two classes.
    CHECK(row["mean_prediction_entropy"].get<double>() >= row["entropy"].get<double>());
    CHECK(row["mean_prediction_entropy"].get<double>() <= std::log(2) + 1e-6);
    const double agreeing = row["teacher_agreement"].get<double>() * 24 / 100;
    CHECK(agreeing == Approx(std::round(agreeing)));
  }
  CHECK_THAT(succeed(place, {"select", run, "--bytes", "1G", "--criterion", "source-val"}).out,
             Contains("kept out of training"));

  // The same images with labels: the figures that need none stay what they were.
  succeed(place, {"eval", run, "--all", "--data", place.at("target"), "--json", place.at("labelled.json")});
  const json labelled = json::parse(contents(place.at("labelled.json")));
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(labelled[i]["accuracy"].is_number());
    CHECK(labelled[i]["entropy"].get<double>() == Approx(rows[i]["entropy"].get<double>()));
  }
}

TEST_CASE("answers: measured times, fronts and limits") {
  const Workplace place;
  const std::string run = place.at("run");
  succeed(place, place.train("run"));
  // Before any evaluation: a file with costs and times.
  const Outcome measured =
      succeed(place, {"measure", run, "--images", "8", "--batch", "2", "--threads", "1"});
  CHECK_THAT(measured.out, Contains("of 2 image(s), 1 thread(s)") && Contains("between quartiles"));
  json rows = json::parse(contents(run + "/subnets.json"));
  REQUIRE(rows.size() == 4);
  for (const json& row : rows) {
    CHECK(row["latency_ms"].get<double>() > 0);
    CHECK(row["latency"]["batch"] == 2);
    CHECK(row["latency"]["threads"] == 1);
    CHECK_FALSE(row["latency"]["machine"].get<std::string>().empty());
    CHECK(row["accuracy"].is_null());
  }
  const Outcome unknown = place.rtfq({"select", run, "--latency-ms", "1000"});
  CHECK(unknown.status == 1);
  CHECK_THAT(unknown.err, Contains("infomax") && Contains("eval RUN --all"));

  succeed(place, {"eval", run, "--all"});
  const json evaluated = json::parse(contents(run + "/subnets.json"));
  for (std::size_t i = 0; i < 4; ++i) CHECK(evaluated[i]["latency_ms"] == rows[i]["latency_ms"]);
  CHECK_THAT(succeed(place, {"select", run, "--latency-ms", "1000", "--memory", "1G"}).out,
             Contains("chosen by infomax") && Contains("batch 2, 1 thread(s)"));
  CHECK_THAT(succeed(place, {"select", run, "--macs", "1G", "--criterion", "source-val"}).out,
             Contains("data.source_hold_out is 0"));

  // Rows whose best choices are known.
  rows = evaluated;
  const auto set = [&](std::size_t i, double good, int64_t macs, int64_t memory, double milliseconds) {
    rows[i]["accuracy"] = good;
    rows[i]["macs"] = macs;
    rows[i]["memory"] = memory;
    rows[i]["latency_ms"] = milliseconds;
  };
  set(0, 70, 100, 900, 1);
  set(1, 80, 200, 800, 4);
  set(2, 80, 300, 100, 2);
  set(3, 75, 400, 200, 3);
  place.write("run/subnets.json", rows.dump());
  const auto ids = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments{"select", run, "--criterion", "target-labels", "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const json answer = json::parse(succeed(place, arguments).out);
    CHECK(answer["criterion"] == "target-labels");
    std::vector<std::size_t> found;
    for (const json& chosen : answer["subnets"])
      for (std::size_t i = 0; i < 4; ++i)
        if (rows[i]["id"] == chosen["id"]) found.push_back(i);
    std::sort(found.begin(), found.end());
    return found;
  };
  using Found = std::vector<std::size_t>;
  CHECK(ids({"--macs", "1K"}) == Found{1});  // as good as the third, at fewer BitOPs
  CHECK(ids({"--macs", "1K", "--memory", "500"}) == Found{2});
  CHECK(ids({"--latency-ms", "1.5"}) == Found{0});
  CHECK(ids({"--pareto", "macs"}) == Found{0, 1});
  CHECK(ids({"--pareto", "memory"}) == Found{2});
  CHECK(ids({"--pareto", "macs,memory"}) == Found{0, 1, 2});
  CHECK(ids({"--pareto", "latency-ms"}) == Found{0, 2});
  CHECK(ids({"--pareto", "macs,latency-ms", "--memory", "850"}) == Found{1, 2});
  const Outcome none = place.rtfq({"select", run, "--latency-ms", "0.5", "--criterion", "target-labels"});
  CHECK(none.status == 3);
  CHECK_THAT(none.err, Contains("latency-ms 0.5 (the smallest needs 1)"));

  // What an older version wrote.
  for (json& row : rows)
    for (const char* key : {"memory", "entropy", "mean_prediction_entropy", "teacher_agreement", "latency_ms",
                            "latency", "source_held_out"})
      row.erase(key);
  place.write("run/subnets.json", rows.dump());
  CHECK(ids({"--macs", "1K"}) == Found{1});
  for (const auto& [limit, command] : std::map<std::string, std::string>{
           {"--memory", "eval RUN --all"}, {"--latency-ms", "measure RUN"}, {"--bitops", "eval RUN --all"}}) {
    const std::string by = limit == "--bitops" ? "infomax" : "target-labels";
    const Outcome old = place.rtfq({"select", run, limit, "1G", "--criterion", by});
    CHECK(old.status == 1);
    CHECK_THAT(old.err, Contains(command));
  }
  CHECK(place.rtfq({"select", run, "--pareto", "cost"}).status == 2);
  CHECK(place.rtfq({"select", run, "--macs", "1K", "--criterion", "best"}).status == 2);
}

TEST_CASE("answers: a plan trains nothing and leaves nothing behind") {
  const Workplace place;
  const auto entries = [&] {
    std::set<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(place.root)) names.insert(entry.path());
    return names;
  };
  succeed(place, {"config"});  // the output files are there
  const auto before = entries();
  const Outcome plan = succeed(place, {"train", place.at("small.jsonc"), "--plan"});
  CHECK_THAT(plan.out, Contains("float") && Contains("adapt") && Contains("calibration") &&
                           Contains("MiB of tensors") &&
                           Contains("24 source images of 2 classes, 24 target images"));
  CHECK(entries() == before);
  const Outcome absent =
      place.rtfq({"train", place.at("small.jsonc"), "--plan", "--set", "data.target=/nowhere"});
  CHECK(absent.status == 1);
  CHECK_THAT(absent.err, Contains("/nowhere"));
  CHECK_THAT(absent.err, !Contains("measuring"));
  CHECK(entries() == before);
}
