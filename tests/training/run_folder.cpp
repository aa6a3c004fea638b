#include "training/run_folder.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "training/step_log.h"

using namespace rtfq;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

/// An empty folder below the working directory, gone at the end.
struct Scratch {
  fs::path root;
  explicit Scratch(const std::string& name) : root(fs::current_path() / name) {
    fs::remove_all(root);
    fs::create_directories(root);
  }
  ~Scratch() { fs::remove_all(root); }
  std::string at(const std::string& name) const { return (root / name).string(); }
  void write(const std::string& name, const std::string& text) const { std::ofstream(root / name) << text; }
  std::string read(const std::string& name) const {
    std::ifstream in(root / name);
    return {std::istreambuf_iterator<char>(in), {}};
  }
};

StepReport report(int64_t step) {
  StepReport out;
  out.step = step;
  out.phase = "adapt";
  out.loss = 0.5;
  out.terms = {{"source", 0.25}, {"joint", 0.125}};
  out.images = 8;
  return out;
}

std::string lines(int64_t first, int64_t last) {
  std::string out;
  for (int64_t step = first; step <= last; ++step) out += log_line(report(step)) + "\n";
  return out;
}

}  // namespace

TEST_CASE("step log: one line a step, continued where the checkpoint is") {
  const Scratch scratch("step-log-test");
  {
    StepLog log(scratch.at("log"), 0);
    for (int64_t step = 1; step <= 5; ++step) log.append(report(step));
    log.sync();
  }
  CHECK(scratch.read("log") == lines(1, 5));
  {
    StepLog log(scratch.at("log"), 3);
    CHECK(log.last_step() == 3);
    log.append(report(4));
  }
  CHECK(scratch.read("log") == lines(1, 4));
  CHECK(StepLog(scratch.at("log"), 0).last_step() == 0);
  CHECK(scratch.read("log").empty());
}

TEST_CASE("step log: entries cut off, repeated or foreign go") {
  const Scratch scratch("step-log-damage-test");
  scratch.write("log", lines(1, 3) + log_line(report(4)).substr(0, 30));
  CHECK(StepLog(scratch.at("log"), 10).last_step() == 3);
  CHECK(scratch.read("log") == lines(1, 3));
  scratch.write("log",
                lines(1, 3) + log_line(report(4)));  // complete but for its newline: appending would join two
  CHECK(StepLog(scratch.at("log"), 10).last_step() == 3);
  scratch.write("log", lines(1, 3) + lines(2, 5) + "not json\n[]\n{\"loss\": 1}\n");
  CHECK(StepLog(scratch.at("log"), 10).last_step() == 5);
  CHECK(scratch.read("log") == lines(1, 5));
  CHECK_THROWS_WITH(StepLog(scratch.at("no/such/folder"), 0), Contains("[log]"));
}

TEST_CASE("run folder: who may train in it") {
  const Scratch scratch("run-folder-test");
  const std::string run = scratch.at("a/b");
  {
    const RunFolder folder(run, false);
    CHECK_FALSE(folder.has_checkpoint());
    CHECK_THROWS_WITH(RunFolder(run, false), Contains("another process"));
  }
  { const RunFolder again(run, false); }  // only the lock is there: still free
  { RunFolder(run, true).write_config(parse_config("{}", "")); }
  CHECK_THROWS_WITH(RunFolder(run, false), Contains("already holds a run"));
  CHECK_NOTHROW(RunFolder(run, true));
  scratch.write("file", "");
  CHECK_THROWS_WITH(RunFolder(scratch.at("file"), false), Contains("is a file"));
  CHECK_THROWS_WITH(RunFolder(scratch.root.string(), true), Contains("but no run"));
}

TEST_CASE("run folder: finding what a command names") {
  const Scratch scratch("find-run-test");
  CHECK_THROWS_WITH(find_run(scratch.at("none")), Contains("there is no"));
  CHECK_THROWS_WITH(find_run(scratch.root.string()), Contains("is not a run"));
  scratch.write("config.jsonc", "{}");
  CHECK_THROWS_WITH(find_run(scratch.root.string()), Contains("no checkpoint yet"));
  scratch.write("checkpoint.safetensors", "");
  const FoundRun folder = find_run(scratch.root.string()),
                 file = find_run(scratch.at("checkpoint.safetensors"));
  CHECK(folder.checkpoint == file.checkpoint);
  CHECK(file.paths.subnets() == scratch.at("subnets.json"));
}

TEST_CASE("run folder: a resumed run keeps its settings") {
  const Config started = parse_config("{}", "");
  const auto now = [](const std::string& setting) { return parse_config("{}", "", {setting}); };
  for (const char* same :
       {"data.source=x", "data.target=y", "threads=3", "data.threads=4", "train.checkpoint_every=7"})
    CHECK_NOTHROW(require_same_run(started, now(same)));
  for (const char* key : {"train.steps", "train.seed", "train.batch"})
    CHECK_THROWS_WITH(require_same_run(started, now(std::string(key) + "=3")), Contains(key));
  CHECK_THROWS_WITH(require_same_run(started, now("bank=anyda48")), Contains("bank"));
}
