#include "tools/experiment_runner.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>

#include "tools/child.h"
#include "tools/command.h"
#include "tools/interrupt.h"
#include "tools/progress.h"
#include "training/environment.h"
#include "training/experiment_results.h"

namespace rtfq::cli {
namespace fs = std::filesystem;
using namespace experiment;
namespace {

/// Held by one process at a time, until it ends at the latest.
class Lock {
 public:
  explicit Lock(const std::string& path) : file_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
    if (file_ < 0) throw std::runtime_error("[experiment] cannot write " + path);
    held_ = ::flock(file_, LOCK_EX | LOCK_NB) == 0;
  }
  ~Lock() { ::close(file_); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  bool held() const { return held_; }

 private:
  int file_;
  bool held_ = false;
};

/// A process trains in the folder: one that somebody started by hand, or one that outlives its parent for a
/// moment.
bool trained_by_another(const Run& run) {
  const std::string lock = run.folder + "/.lock";
  return fs::exists(lock) && !Lock(lock).held();
}

std::string subnet_words(const Subnet& subnet) {
  char text[96];
  std::snprintf(text, sizeof text, "width=%.10g,depth=%.10g,resolution=%d,bits=%d", subnet.width,
                subnet.depth, subnet.resolution, subnet.bits);
  return text;
}

/// What is shown while a run goes on: on a terminal one line drawn anew, elsewhere nothing.
class Display {
 public:
  explicit Display(std::string label) : label_(std::move(label)), terminal_(stderr_is_terminal()) {}
  ~Display() { clear(); }
  void show(const std::string& line) {
    if (!terminal_) return;
    std::fprintf(stderr, "\r\033[K%s: %.100s", label_.c_str(), line.c_str());
    drawn_ = true;
  }
  void clear() {
    if (drawn_) std::fprintf(stderr, "\r\033[K");
    drawn_ = false;
  }
  void say(const std::string& text) {
    clear();
    note(label_ + ": " + text);
  }

 private:
  std::string label_;
  bool terminal_, drawn_ = false;
};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

class Runner {
 public:
  Runner(const Experiment& experiment, const std::vector<Run>& runs, const Run& run, const std::string& label)
      : experiment_(experiment),
        runs_(runs),
        run_(run),
        display_(label),
        record_(read_record(run.record())) {}

  RunEnd go(bool rerun) {
    RunProgress progress = inspect(experiment_, run_, runs_);
    if (progress.state == State::finished) return RunEnd::finished;
    if (progress.state == State::differs) {
      if (!rerun) return refuse(progress);
      clear();
      progress = {};
    }
    if (run_.parent >= 0 && !from_parent(progress)) return RunEnd::held;
    const auto commands = commands_of(experiment_, run_, runs_);
    record_.commands = {line_of(commands[0]), line_of(commands[1])};
    if (progress.state != State::trained) {
      const RunEnd trained = train(commands[0], progress);
      if (trained != RunEnd::finished) return trained;
    }
    return evaluate(commands[1]);
  }

 private:
  static std::string line_of(const std::vector<std::string>& command) {
    std::string line = "rtfq";
    for (const std::string& word : command) line += " " + shell_word(word);
    return line;
  }

  /// Removes what is there, so that the run starts anew.
  void clear() {
    const RunPaths paths{run_.folder};
    if (fs::exists(paths.config()) || fs::exists(paths.checkpoint())) fs::remove_all(run_.folder);
    record_ = {};
  }

  RunEnd refuse(const RunProgress& progress) {
    std::string keys;
    for (const std::string& key : progress.differing) keys += (keys.empty() ? "" : ", ") + key;
    display_.say(run_.folder + " was run with other values of " + keys + ": --rerun replaces it");
    return RunEnd::failed;
  }

  /// False while the run that this one is made from is not finished. What an earlier try left is removed.
  bool from_parent(const RunProgress& progress) {
    const Run& origin = runs_[static_cast<std::size_t>(run_.parent)];
    if (inspect(experiment_, origin, runs_).state != State::finished) return false;
    if (progress.state != State::trained) clear();
    record_.parent = read_record(origin.record()).environment["trained"];
    return true;
  }

  void write(const std::string& state) {
    record_.state = state;
    write_record(run_.record(), record_);
  }

  RunEnd failed(const std::string& what, const ChildOutcome& outcome) {
    record_.exit_status = outcome.status;
    record_.error = outcome.tail;
    write("failed");
    display_.say(what + " ended with status " + std::to_string(outcome.status) +
                 (outcome.tail.empty() ? "" : ": " + outcome.tail.back()) + " (all of it: " + run_.output() +
                 ")");
    return RunEnd::failed;
  }

  ChildOutcome launch(const std::vector<std::string>& command, double& seconds) {
    const auto start = std::chrono::steady_clock::now();
    ChildOutcome outcome =
        run_child(command, run_.output(), [&](const std::string& line) { display_.show(line); });
    seconds += seconds_since(start);
    return outcome;
  }

  RunEnd train(const std::vector<std::string>& command, const RunProgress& progress) {
    const std::string started = record_.environment["started"];
    record_.environment = environment(run_.config.threads);
    record_.environment["started"] =
        progress.step > 0 && !started.empty() ? started : record_.environment["date"];
    record_.environment.erase("date");
    record_.error.clear();
    record_.exit_status = 0;
    write("training");
    display_.say(progress.step > 0 ? "going on after step " + std::to_string(progress.step) : "started");
    const ChildOutcome outcome = launch(command, record_.train_seconds);
    if (outcome.status == interrupted_and_saved || (interrupted() && outcome.status != done)) {
      write("interrupted");
      return RunEnd::interrupted;
    }
    if (outcome.status != done) return failed(command.front(), outcome);
    complete(record_, run_);
    record_.environment["trained"] = utc_now();
    write("trained");
    return RunEnd::finished;
  }

  RunEnd evaluate(const std::vector<std::string>& command) {
    const ChildOutcome outcome = launch(command, record_.eval_seconds);
    if (outcome.status != done) return interrupted() ? RunEnd::interrupted : failed("eval", outcome);
    record_.environment["ended"] = utc_now();
    record_.evaluation = evaluation_name(experiment_);
    write("finished");
    if (inspect(experiment_, run_, runs_).state != State::finished)
      return failed("eval",
                    {done, {"no accuracy of the wanted subnets was written: has the target labels?"}});
    display_.say("finished in " + duration(record_.train_seconds + record_.eval_seconds));
    return RunEnd::finished;
  }

  const Experiment& experiment_;
  const std::vector<Run>& runs_;
  const Run& run_;
  Display display_;
  Record record_;
};

}  // namespace

std::vector<std::vector<std::string>> commands_of(const Experiment& experiment, const Run& run,
                                                  const std::vector<Run>& all) {
  std::vector<std::string> make;
  if (run.parent >= 0)
    make = {"quantize", all[static_cast<std::size_t>(run.parent)].folder, "--out", run.folder};
  else
    make = {"train", run.base, "--out", run.folder, "--resume"};
  for (const std::string& setting : run.settings) make.insert(make.end(), {"--set", setting});
  const DataConfig& data = run.config.data;  // wherever they were when the other run was trained
  if (run.parent >= 0)
    make.insert(make.end(), {"--set", "data.source=" + data.source, "--set", "data.target=" + data.target,
                             "--set", "data.evaluation=" + data.evaluation});
  std::vector<std::string> eval{"eval", run.folder};
  const std::vector<Subnet> wanted = evaluated_subnets(experiment, run);
  if (experiment.evaluation.subnets == "all" || wanted.size() == 1) {
    eval.push_back("--all");
  } else {
    for (const Subnet& subnet : wanted) eval.insert(eval.end(), {"--subnet", subnet_words(subnet)});
    eval.insert(eval.end(), {"--json", run.folder + "/subnets.json"});
  }
  const std::string& measured = data.evaluation.empty() ? data.target : data.evaluation;
  if (!measured.empty()) eval.insert(eval.end(), {"--data", measured});
  if (!experiment.evaluation.source) eval.push_back("--target-only");
  if (experiment.evaluation.held_out) eval.push_back("--held-out");
  return {make, eval};
}

RunEnd run_one(const Experiment& experiment, const std::vector<Run>& runs, std::size_t index,
               const std::string& label, bool rerun) {
  const Run& run = runs[index];
  try {
    fs::create_directories(fs::path(run.folder).parent_path());
    const Lock lock(run.lock());
    if (!lock.held() || trained_by_another(run)) return RunEnd::held;
    return Runner(experiment, runs, run, label).go(rerun);
  } catch (const std::exception& error) {  // a full disk, say: the others may still be done
    note(label + ": " + error.what());
    return RunEnd::failed;
  }
}

}  // namespace rtfq::cli
