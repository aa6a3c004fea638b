// `rtfq experiment` from start to end: runs, interruption, sharing a folder, tables.
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

/// Stripes, and an experiment of two methods with two seeds and one that runs once.
class Laboratory : public Workplace {
 public:
  Laboratory() {
    write("tiny.jsonc", R"({
      "name": "tiny",
      "title": "Stripes, upright and lying",
      "claim": "A bank of four subnets is as good as two of one bit-width.",
      "base": "small.jsonc",
      "tasks": {"s2t": {"title": "source to target", "data.source": "{root}/source", "data.target": "{root}/target"}},
      "methods": {
        "bank": {"title": "joint"},
        "eight": {"title": "8 bits alone", "bank.bits": [8]},
        "four": {"bank.bits": [4]},
      },
      "groups": {"alone": {"title": "each bit-width alone", "methods": ["eight", "four"]}},
      "seeds": [1, 2],
      "runs": [{"methods": ["bank", "eight"]}, {"methods": ["four"], "seeds": [1]}],
      "tables": {
        "accuracy": {"title": "Accuracy", "methods": ["bank", "alone", "eight"], "values": ["largest", "mean by bits"]},
        "subnets": {"kind": "subnets", "methods": ["bank", "alone"]},
        "reduction": {"kind": "reduction", "methods": ["bank"]},
      },
      "plots": {"cost": {"title": "Accuracy and cost", "methods": ["bank", "eight"], "by": "bits"}},
    })");
  }
  std::vector<std::string> experiment(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments{"experiment", at("tiny.jsonc"), "--out",
                                       at("out"),    "--root",         root.string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  bool has(const std::string& path) const { return fs::exists(root / "out" / path); }
  std::string out(const std::string& path) const { return contents((root / "out" / path).string()); }
};

std::vector<std::string> lines(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> out;
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}

/// Accuracy of one subnet of a finished run.
double accuracy(const Laboratory& place, const std::string& run, const std::string& subnet) {
  for (const json& row : json::parse(place.out("runs/s2t/" + run + "/subnets.json")))
    if (row["id"] == subnet) return row["accuracy"].get<double>();
  throw std::runtime_error(run + " has no " + subnet);
}

std::string fixed(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", value);
  return text;
}

}  // namespace

TEST_CASE("experiment: list, plan, run, collect") {
  const Laboratory place;
  const Outcome listed = place.rtfq(place.experiment({"--list"}));
  INFO(listed.err);
  REQUIRE(listed.status == 0);
  const auto commands = lines(listed.out);
  REQUIRE(commands.size() == 5);
  CHECK_THAT(commands[0], Contains(" train ") &&
                              Contains("small.jsonc --out " + place.at("out/runs/s2t/bank/seed1")) &&
                              Contains("--set train.seed=1") && Contains(" && ") && Contains(" eval ") &&
                              Contains("--set data.target=" + place.at("target")));
  CHECK_THAT(commands[1], Contains("--set 'bank.bits=[8]' --set train.seed=1"));
  CHECK_FALSE(place.has(""));

  const Outcome plan = place.rtfq(place.experiment({"--plan"}));
  CHECK(plan.status == 0);
  CHECK_THAT(plan.out, Contains("s2t/bank/seed2") && Contains("missing"));
  CHECK_FALSE(place.has(""));

  // One of them as a job array would, by its line.
  const Outcome one = place.rtfq(place.experiment({"--index", "5"}));
  INFO(one.err);
  REQUIRE(one.status == 0);
  CHECK(place.has("runs/s2t/four/seed1/subnets.json"));
  CHECK_FALSE(place.has("runs/s2t/bank"));
  CHECK_THAT(place.out("report.md"), Contains("1 of 5 runs are finished") && Contains("- (0 of 2)"));

  const Outcome all = place.rtfq(place.experiment());
  INFO(all.err);
  REQUIRE(all.status == 0);
  CHECK(all.out == place.at("out") + "/report.md\n");
  CHECK_THAT(all.err, Contains("4 runs to do") && !Contains("four"));

  // Mean and sample deviation of two seeds, by hand: (a + b) / 2 and |a - b| / sqrt(2).
  const std::string report = place.out("report.md"), large = "w1-d1-r12-b8";
  const double a = accuracy(place, "bank/seed1", large), b = accuracy(place, "bank/seed2", large);
  const std::string cell = fixed((a + b) / 2) + " ± " + fixed(std::abs(a - b) / std::sqrt(2.0)) + " (2)";
  CHECK_THAT(report, Contains(cell) && Contains("5 of 5 runs are finished") && Contains("no target label") &&
                         Contains("plots/cost.svg") && Contains("each bit-width alone") &&
                         Contains("`bank.bits=[8]`") && Contains("commit") &&
                         Contains("rtfq experiment " + place.at("tiny.jsonc")));
  // The group has both bit-widths only with seed 1: its other seed lacks nothing, since "four" runs once.
  const double mean4 =
      (accuracy(place, "four/seed1", "w1-d1-r12-b4") + accuracy(place, "four/seed1", "w0.5-d1-r12-b4")) / 2;
  CHECK_THAT(place.out("tables/accuracy.csv"), Contains(",mean bits=4,mean bits=4 sd,mean bits=4 n"));
  CHECK_THAT(report, Contains(fixed(mean4) + " (1"));
  CHECK_THAT(report, Contains("| n/a |"));  // "eight" has no subnet at 4 bits
  CHECK_THAT(place.out("plots/cost.svg"), Contains("<svg") && Contains("w0.5-d1-r12-b4"));
  const auto rows = lines(place.out("results.csv"));
  CHECK(rows.size() == 1 + 2 * 4 + 2 * 2 + 2);
  const json record = json::parse(place.out("runs/s2t/bank/seed1.json"));
  CHECK(record["state"] == "finished");
  CHECK(record["classes"] == 2);
  for (const char* key : {"commit", "cpu", "threads", "version", "started", "ended"})
    CHECK_FALSE(record["environment"][key].get<std::string>().empty());

  // All done: nothing runs again, and tables come out the same.
  const auto before = fs::last_write_time(place.root / "out/runs/s2t/bank/seed1/checkpoint.safetensors");
  const Outcome again = place.rtfq(place.experiment());
  CHECK(again.status == 0);
  CHECK_THAT(again.err, Contains("0 runs to do"));
  CHECK(fs::last_write_time(place.root / "out/runs/s2t/bank/seed1/checkpoint.safetensors") == before);
  CHECK(place.out("report.md") == report);
  CHECK_THAT(place.rtfq(place.experiment({"--plan"})).out, Contains("finished"));

  // Measured on other images, nothing is trained again.
  const std::string plain = contents(place.at("tiny.jsonc"));
  std::string with_source = plain;
  with_source.insert(with_source.find("\"tables\""), "\"evaluate\": {\"source\": true}, ");
  place.write("tiny.jsonc", with_source);
  const Outcome measured = place.rtfq(place.experiment({"--only", "four"}));
  CHECK(measured.status == 0);
  CHECK_THAT(measured.err, Contains("1 runs to do") && !Contains("started"));
  CHECK(json::parse(place.out("runs/s2t/four/seed1/subnets.json"))[0]["source_accuracy"].is_number());
  place.write("tiny.jsonc", plain);
  CHECK(place.rtfq(place.experiment({"--only", "four"})).status == 0);

  // A missing run is a missing seed, not a smaller mean.
  fs::remove_all(place.root / "out/runs/s2t/bank/seed2");
  CHECK(place.rtfq(place.experiment({"--collect"})).status == 0);
  CHECK_THAT(place.out("report.md"), Contains("4 of 5 runs") && Contains(fixed(a) + " (1 of 2)"));

  // Other settings in the same folder.
  const Outcome other = place.rtfq(place.experiment({"--set", "train.batch=5"}));
  CHECK(other.status == 2);
  CHECK_THAT(other.err, Contains("train.batch") && Contains("bank/seed1") && Contains("--rerun"));
  const Outcome replaced =
      place.rtfq(place.experiment({"--set", "train.batch=5", "--rerun", "--only", "s2t/four/*"}));
  INFO(replaced.err);
  CHECK(replaced.status == 0);
  CHECK_THAT(place.out("runs/s2t/four/seed1/config.jsonc"), Contains("\"batch\": 5"));
  CHECK_THAT(place.out("report.md"), Contains("was run with other values of train.batch"));
}

TEST_CASE("experiment: killed in the middle, it goes on, and interrupted, it saves") {
  const Laboratory place;
  const std::vector<std::string> longer{"--set", "train.steps=60", "--only", "bank/seed1"};
  const auto in_step = [&](const std::string& step) {
    for (int i = 0; i < 6000; ++i) {
      if (place.out("runs/s2t/bank/seed1/log.jsonl").find("\"step\":" + step + ",") != std::string::npos)
        return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return false;
  };
  const Process killed(place.root, place.experiment(longer));
  REQUIRE(in_step("6"));
  killed.signal(SIGKILL);
  CHECK(killed.wait().status == 128 + SIGKILL);

  // The orphan saves and ends; whoever comes next waits for it and goes on.
  const Process stopped(place.root, place.experiment(longer));
  REQUIRE(in_step("20"));
  stopped.signal(SIGTERM);
  const Outcome outcome = stopped.wait();
  INFO(outcome.err);
  CHECK(outcome.status == 75);
  CHECK_THAT(outcome.err, Contains("interrupted") && Contains("Go on with"));
  CHECK_FALSE(place.has("runs/s2t/bank/seed1/subnets.json"));
  CHECK_THAT(place.rtfq(place.experiment({"--set", "train.steps=60", "--plan"})).out, Contains("started "));

  const Outcome rest = place.rtfq(place.experiment(longer));
  INFO(rest.err);
  REQUIRE(rest.status == 0);
  CHECK_THAT(rest.err, Contains("going on after step"));
  CHECK(place.logged_steps("out/runs/s2t/bank/seed1") == rtfq::test::steps_to(60));
}

TEST_CASE("experiment: two processes share a folder") {
  const Laboratory place;
  fs::create_directories(place.root / "a");
  fs::create_directories(place.root / "b");
  const Process a(place.root / "a", place.experiment()), b(place.root / "b", place.experiment());
  const Outcome first = a.wait(), second = b.wait();
  INFO(first.err << "\n---\n" << second.err);
  REQUIRE(first.status == 0);
  REQUIRE(second.status == 0);
  // Each run was started once, and both saw all of them through.
  const std::string both = first.err + second.err;
  std::size_t started = 0;
  for (std::size_t at = both.find(": started"); at != both.npos; at = both.find(": started", at + 1))
    ++started;
  CHECK(started == 5);
  CHECK(first.err.find(": started") != first.err.npos);
  CHECK(second.err.find(": started") != second.err.npos);
  CHECK_THAT(place.out("report.md"), Contains("5 of 5 runs are finished"));
  for (const char* run : {"bank/seed1", "bank/seed2", "eight/seed1", "eight/seed2", "four/seed1"})
    CHECK(place.logged_steps("out/runs/s2t/" + std::string(run)) == rtfq::test::steps_to(9));
}

TEST_CASE("experiment: a run that is quantized from another") {
  const Laboratory place;
  std::string text = contents(place.at("tiny.jsonc"));
  text.replace(
      text.find("\"four\": {"), 9,
      R"("after": {"quantize": "float", "bank.bits": [8, 4]}, "float": {"bank.bits": [32]}, "four": {)");
  const std::string runs = "\"runs\": [";
  text.replace(text.find(runs), runs.size(), runs + R"({"methods": ["after", "float"], "seeds": [1]}, )");
  place.write("tiny.jsonc", text);
  const auto listed = lines(place.rtfq(place.experiment({"--list"})).out);
  REQUIRE(listed.size() == 7);
  CHECK_THAT(listed[0], Contains("train ") && Contains("float/seed1"));
  CHECK_THAT(listed[1], Contains("quantize " + place.at("out/runs/s2t/float/seed1") + " --out " +
                                 place.at("out/runs/s2t/after/seed1")));
  // What it comes from is done first, though only it was asked for.
  const Outcome outcome = place.rtfq(place.experiment({"--index", "2"}));
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  CHECK_THAT(outcome.err, Contains("2 runs to do"));
  CHECK_NOTHROW(accuracy(place, "after/seed1", "w0.5-d1-r12-b4"));
  CHECK_NOTHROW(accuracy(place, "float/seed1", "w0.5-d1-r12-b32"));
  CHECK_THAT(place.rtfq(place.experiment({"--index", "2"})).err, Contains("0 runs to do"));
  // Trained again, it is quantized again.
  fs::remove_all(place.root / "out/runs/s2t/float/seed1");
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // times are kept in seconds
  CHECK_THAT(place.rtfq(place.experiment({"--only", "after"})).err,
             Contains("2 runs to do") && Contains("finished"));
}

TEST_CASE("experiment: a run that fails is reported, the others are done") {
  const Laboratory place;
  // The second method looks for its data where there are none.
  std::string text = contents(place.at("tiny.jsonc"));
  const std::string eight = R"("eight": {"title": "8 bits alone", )";
  text.replace(text.find(eight), eight.size(), eight + R"("data.source": "{root}/nowhere", )");
  place.write("tiny.jsonc", text);
  const Outcome outcome = place.rtfq(place.experiment());
  INFO(outcome.err);
  CHECK(outcome.status == 1);
  CHECK_THAT(outcome.err,
             Contains("train ended with status 1") && Contains("nowhere") && Contains("2 runs failed"));
  CHECK(place.has("runs/s2t/bank/seed2/subnets.json"));
  const json record = json::parse(place.out("runs/s2t/eight/seed1.json"));
  CHECK(record["state"] == "failed");
  CHECK(record["exit_status"] == 1);
  CHECK_THAT(record["error"].back().get<std::string>(), Contains("nowhere"));
  CHECK_THAT(place.out("report.md"), Contains("3 of 5 runs are finished, 2 failed") && Contains("nowhere"));
}

TEST_CASE("experiment: usage") {
  const Laboratory place;
  const auto refused = [&](const std::vector<std::string>& arguments, const std::string& message) {
    const Outcome outcome = place.rtfq(arguments);
    INFO(outcome.err);
    CHECK(outcome.status == 2);
    CHECK_THAT(outcome.err, Contains(message));
  };
  refused({"experiment", place.at("tiny.jsonc"), "--out", place.at("out")}, "give --root DIR");
  refused(place.experiment({"--only", "nothing"}), "matches no run");
  refused(place.experiment({"--index", "6"}), "1 to 5");
  refused(place.experiment({"--budget", "soon"}), "1h30m");
  refused(place.experiment({"--collect"}), "there is no folder");
  refused(place.experiment({"--set", "train.stepz=3"}), "train.steps");
  CHECK_FALSE(place.has(""));
  const Outcome nothing = place.rtfq(place.experiment({"--budget", "0s"}));
  CHECK(nothing.status == 75);
  CHECK_THAT(nothing.err, Contains("--budget is used up; 5 runs are left"));
}
