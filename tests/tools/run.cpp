// A run from start to end through the command line: training, interruption, resumption, evaluation,
// selection.
#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <thread>

#include "tests/tools/command.h"
#include "training/config.h"

using namespace rtfq;
using Catch::Matchers::Contains;
using nlohmann::json;
using test::contents;
using test::Outcome;
using test::Process;
using test::steps_to;
using test::succeed;
using test::Workplace;
namespace fs = std::filesystem;

TEST_CASE("run: train, eval, select, info, calibrate") {
  const Workplace place;
  const std::string run = place.at("run");
  const Outcome trained = succeed(place, place.train("run", {"--print-every", "2"}));
  CHECK(trained.out.empty());
  CHECK_THAT(trained.err, Contains("step 2/9 float") && Contains("step 4/9 source") &&
                              Contains("step 6/9 adapt") && Contains("images/s") && Contains("ETA") &&
                              Contains("peak memory") && Contains(" eval " + run + " --all"));
  CHECK(place.logged_steps("run") == steps_to(9));
  std::ifstream log(run + "/log.jsonl");
  for (std::string line; std::getline(log, line);) {
    const json entry = json::parse(line);
    for (const char* key :
         {"phase", "loss", "terms", "source_accuracy", "gradient_norm", "learning_rate", "seconds", "images"})
      CHECK(entry.contains(key));
    CHECK(entry["images"] == (entry["phase"] == "adapt" ? 8 : 4));
  }
  CHECK(read_config(run + "/config.jsonc").train.steps == 9);
  CHECK_FALSE(fs::exists(run + "/subnets.json"));

  const Outcome early = place.rtfq({"select", run, "--macs", "1G"});
  CHECK(early.status == 1);
  CHECK_THAT(early.err, Contains("eval RUN --all"));

  const Outcome all = succeed(place, {"eval", run, "--all", "--json", place.at("copy.json")});
  const json rows = json::parse(contents(run + "/subnets.json"));
  REQUIRE(rows.size() == 4);
  CHECK(json::parse(contents(place.at("copy.json"))) == rows);
  int64_t before = 0;
  for (const json& row : rows) {
    CHECK(row["bitops"].get<int64_t>() > before);
    before = row["bitops"].get<int64_t>();
    for (const char* key : {"width", "depth", "resolution", "bits", "params", "bytes", "macs"})
      CHECK(row[key].get<double>() > 0);
    CHECK(row["accuracy"].get<double>() >= 0);
    CHECK(row["source_accuracy"].get<double>() >= 0);
    CHECK_THAT(all.out, Contains(row["id"].get<std::string>()));
  }
  CHECK(all.out.find(rows[0]["id"].get<std::string>()) < all.out.find(rows[3]["id"].get<std::string>()));

  const Outcome one = succeed(place, {"eval", run, "--subnet", "width=0.5,bits=4", "--subnet", "bits=8"});
  CHECK_THAT(one.out, Contains("w0.5-d1-r12-b4") && Contains("w1-d1-r12-b8"));
  const Outcome unknown = place.rtfq({"eval", run, "--subnet", "bits=5"});
  CHECK(unknown.status == 2);
  CHECK_THAT(unknown.err, Contains("8, 4"));

  double best = 0;
  for (const json& row : rows) best = std::max(best, row["accuracy"].get<double>());
  const Outcome anything = succeed(place, {"select", run, "--bitops", "1T", "--criterion", "target-labels"});
  for (const json& row : rows)
    if (row["accuracy"].get<double>() == best) {  // of equally good ones the cheapest, which comes first
      CHECK_THAT(anything.out, Contains(row["id"].get<std::string>() + " "));
      break;
    }
  const std::string least = std::to_string(rows[0]["bitops"].get<int64_t>());
  CHECK_THAT(succeed(place, {"select", run, "--bitops", least}).out,
             Contains(rows[0]["id"].get<std::string>()));
  const Outcome none =
      place.rtfq({"select", run, "--bitops", std::to_string(rows[0]["bitops"].get<int64_t>() - 1)});
  CHECK(none.status == 3);
  CHECK(none.out.empty());
  CHECK_THAT(none.err, Contains("the smallest needs " + least));
  CHECK(place.rtfq({"select", run, "--bitops", "1T", "--bytes", "10"}).status == 3);

  CHECK_THAT(succeed(place, {"info", run}).out,
             Contains("step 9 of 9") && Contains("2 x 128") && Contains("0, 1"));
  CHECK_THAT(succeed(place, {"info", run + "/checkpoint.safetensors"}).out, Contains("2 classes"));

  const std::string weights = contents(run + "/checkpoint.safetensors");
  const Outcome calibrated = succeed(place, {"calibrate", run, "--data", place.at("source")});
  CHECK_THAT(calibrated.err, Contains("measured before"));
  CHECK(contents(run + "/checkpoint.safetensors") != weights);
  succeed(place, {"calibrate", run, "--data", place.at("target")});
  CHECK(contents(run + "/checkpoint.safetensors").size() == weights.size());
  succeed(place, {"eval", run});
}

TEST_CASE("run: a bank at full precision is quantized without training") {
  const Workplace place;
  succeed(place, place.train("rtff", {"--set", "bank.bits=[32]"}));
  const std::string from = place.at("rtff"), to = place.at("ptq");
  const Outcome done = succeed(place, {"quantize", from, "--out", to, "--set", "bank.bits=[8,3]"});
  CHECK_THAT(done.err, Contains(" eval " + to + " --all"));
  CHECK(read_config(to + "/config.jsonc").model.bank.bits == std::vector<int>{8, 3});
  CHECK_THAT(succeed(place, {"eval", to, "--all"}).out, Contains("b3") && Contains("b8"));
  const Outcome again = place.rtfq({"quantize", to, "--out", place.at("twice")});
  CHECK(again.status == 2);
  CHECK_THAT(again.err, Contains("[quantize] expected a bank that was trained at full precision"));
  CHECK_FALSE(fs::exists(place.at("twice")));
  const Outcome taken = place.rtfq({"quantize", from, "--out", to});
  CHECK(taken.status == 2);
  CHECK_THAT(taken.err, Contains("already holds a run") && !Contains("--resume"));
}

TEST_CASE("run: a folder that holds a run or something else is not overwritten") {
  const Workplace place;
  succeed(place, place.train("run", {"--resume"}));  // nothing to resume: starts
  const std::string log = contents(place.at("run/log.jsonl"));
  const Outcome again = place.rtfq(place.train("run"));
  CHECK(again.status == 2);
  CHECK_THAT(again.err, Contains("already holds a run") && Contains("--resume"));
  const Outcome other = place.rtfq(place.train("source"));
  CHECK(other.status == 2);
  CHECK_THAT(other.err, Contains("but no run"));
  const Outcome changed = place.rtfq(place.train("run", {"--resume", "--set", "train.batch=5"}));
  CHECK(changed.status == 2);
  CHECK_THAT(changed.err, Contains("train.batch"));
  succeed(place, place.train("run", {"--resume"}));  // all steps are done
  CHECK(contents(place.at("run/log.jsonl")) == log);
}

TEST_CASE("run: after an interruption the result has the same bits") {
  const Workplace place;
  place.write("small.jsonc", [&] {
    std::string text = contents(place.at("small.jsonc"));
    return text.replace(text.find("\"steps\": 9"), 10, "\"steps\": 40");
  }());
  succeed(place, place.train("whole"));

  // SIGINT in the middle of the adaptation, after the log says that it has begun.
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) {
    const std::string run = "stopped" + std::to_string(signal);
    const Process process(place.root, place.train(run));
    for (int i = 0; i < 6000 && contents(place.at(run + "/log.jsonl")).find("adapt") == std::string::npos;
         ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    process.signal(signal);
    const Outcome stopped = process.wait();
    INFO(stopped.err);
    REQUIRE(stopped.status == 75);
    CHECK_THAT(stopped.err,
               Contains("saved") && Contains("train " + place.at("small.jsonc")) && Contains("--resume"));
    const auto steps = place.logged_steps(run);
    CHECK(steps == steps_to(static_cast<int64_t>(steps.size())));
    CHECK(steps.size() < 40);

    succeed(place, place.train(run, {"--resume"}));
    CHECK(place.logged_steps(run) == steps_to(40));
    CHECK(contents(place.at(run + "/checkpoint.safetensors")) ==
          contents(place.at("whole/checkpoint.safetensors")));
  }

  // A kill leaves a log that is ahead of the checkpoint.
  const Process process(place.root, place.train("killed"));
  for (int i = 0; i < 6000 && contents(place.at("killed/log.jsonl")).find("\"step\":6,") == std::string::npos;
       ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  process.signal(SIGKILL);
  CHECK(process.wait().status == 128 + SIGKILL);
  const Outcome info = place.rtfq({"info", place.at("killed")});
  CHECK_THAT(info.err, Contains("training stopped at step"));
  succeed(place, place.train("killed", {"--resume"}));
  CHECK(place.logged_steps("killed") == steps_to(40));
  CHECK(contents(place.at("killed/checkpoint.safetensors")) ==
        contents(place.at("whole/checkpoint.safetensors")));
}

TEST_CASE("run: one process trains in a folder") {
  const Workplace place;
  const Process first(place.root, place.train("run", {"--set", "train.steps=100000"}));
  for (int i = 0; i < 6000 && contents(place.at("run/log.jsonl")).empty(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  fs::create_directory(place.at("second"));
  const Outcome second =
      Process(place.at("second"), place.train("run", {"--resume", "--set", "train.steps=100000"})).wait();
  first.signal(SIGTERM);
  CHECK(first.wait().status == 75);
  CHECK(second.status == 2);
  CHECK_THAT(second.err, Contains("another process is training"));
}

TEST_CASE("run: a loss that is not finite stops with the step") {
  const Workplace place;
  const Outcome outcome = place.rtfq(
      place.train("run", {"--set", "optimizer.learning_rate=1e30", "--set", "optimizer.clip_norm=0", "--set",
                          "train.checkpoint_every=1", "--set", "optimizer.schedule=constant"}));
  INFO(outcome.err);
  CHECK(outcome.status == 1);
  CHECK_THAT(outcome.err, Contains("step ") && Contains("not finite"));
  const auto steps = place.logged_steps("run");
  CHECK(steps.size() < 9);
  CHECK_THAT(outcome.err,
             Contains(steps.empty() ? "nothing was saved"
                                    : "the last checkpoint, of step " + std::to_string(steps.size())));
}

TEST_CASE("run: unlabelled targets, absent sources and damaged checkpoints") {
  const Workplace place;
  // The target as list without labels.
  std::string list;
  for (int label = 0; label < 2; ++label)
    for (int i = 0; i < 12; ++i)
      list += "target/" + std::to_string(label) + "/" + std::to_string(i) + ".png\n";
  place.write("target.txt", list);
  const std::string run = place.at("run");
  succeed(place, place.train("run", {"--set", "data.target=" + place.at("target.txt")}));
  const Outcome source_only = succeed(place, {"eval", run, "--all"});
  CHECK_THAT(source_only.err, Contains("no labels"));
  CHECK(json::parse(contents(run + "/subnets.json"))[0]["accuracy"].is_null());
  const std::vector<std::string> select{"select", run, "--macs", "1G", "--criterion", "target-labels"};
  const Outcome selected = place.rtfq(select);
  CHECK(selected.status == 1);
  CHECK_THAT(selected.err, Contains("accuracy on labels of the target") && Contains("--data LABELLED"));
  CHECK_THAT(succeed(place, {"select", run, "--macs", "1G"}).out, Contains("chosen by infomax"));
  succeed(place, {"eval", run, "--all", "--data", place.at("target")});
  succeed(place, select);
  CHECK(json::parse(contents(run + "/subnets.json"))[0]["accuracy"].is_number());

  fs::rename(place.at("source"), place.at("elsewhere"));
  const Outcome absent = succeed(place, {"eval", run, "--data", place.at("target")});
  CHECK_THAT(absent.err, Contains(place.at("source") + " is not there"));

  fs::resize_file(run + "/checkpoint.safetensors", fs::file_size(run + "/checkpoint.safetensors") / 2);
  const Outcome damaged = place.rtfq({"eval", run});
  CHECK(damaged.status == 1);
  CHECK_THAT(damaged.err, Contains("checkpoint.safetensors"));
}

TEST_CASE("run: source only, and target images kept out") {
  const Workplace place;
  succeed(place, place.train("lower", {"--set", "train.method=source_only", "--set", "data.target="}));
  CHECK(place.logged_steps("lower") == steps_to(9));
  const Outcome scores = succeed(place, {"eval", place.at("lower"), "--all", "--data", place.at("target")});
  CHECK_THAT(scores.out, Contains("-b32"));
  CHECK(json::parse(contents(place.at("lower/subnets.json"))).size() == 1);
  const Outcome without = place.rtfq({"eval", place.at("lower")});
  CHECK(without.status == 2);
  CHECK_THAT(without.err, Contains("--data"));

  succeed(place, place.train("inductive", {"--set", "data.hold_out=4"}));
  succeed(place,
          {"eval", place.at("inductive"), "--held-out", "--target-only", "--json", place.at("held.json")});
  const json held = json::parse(contents(place.at("held.json")));
  // 24 target images, every fourth kept out: accuracies are multiples of one in six.
  const double sixths = held[0]["accuracy"].get<double>() * 6 / 100;
  CHECK(sixths == Approx(std::round(sixths)));
  CHECK(held[0]["source_accuracy"].is_null());
  CHECK(place.rtfq({"eval", place.at("lower"), "--held-out", "--data", place.at("target")}).status == 2);
}
