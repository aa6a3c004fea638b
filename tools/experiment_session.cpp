#include "tools/experiment_session.h"

#include <fnmatch.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "tools/command.h"
#include "tools/experiment_runner.h"
#include "tools/interrupt.h"
#include "tools/progress.h"
#include "tools/table.h"
#include "training/experiment_tables.h"

namespace rtfq::cli {
namespace fs = std::filesystem;
using namespace experiment;
namespace {

using Options = SessionOptions;

using Clock = std::chrono::steady_clock;

Invocation invocation_of(const Options& options) {
  Invocation invocation{options.out, {}, options.settings};
  for (const std::string& root : options.roots) {
    const std::size_t equals = root.find('=');
    const std::string name = equals == root.npos ? "root" : root.substr(0, equals);
    invocation.roots[name] = equals == root.npos ? root : root.substr(equals + 1);
  }
  return invocation;
}

/// "m2u/*" as a shell would match it; without wildcards a part of the name.
bool matches(const std::string& pattern, const std::string& name) {
  if (pattern.find_first_of("*?[") == pattern.npos) return name.find(pattern) != name.npos;
  return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
}

/// Positions of the runs to do, and of those they are quantized from.
std::vector<std::size_t> chosen(const Options& options, const std::vector<Run>& runs) {
  std::vector<bool> wanted(runs.size(), options.index == 0 && options.only.empty());
  if (options.index > static_cast<int64_t>(runs.size()))
    throw UsageError("[experiment] --index expects 1 to " + std::to_string(runs.size()) + ", got " +
                     std::to_string(options.index) + ": --list numbers the runs by its lines");
  if (options.index > 0) wanted[static_cast<std::size_t>(options.index - 1)] = true;
  for (std::size_t i = 0; i < runs.size(); ++i)
    if (!options.only.empty() && matches(options.only, runs[i].id())) wanted[i] = true;
  for (std::size_t i = 0; i < runs.size(); ++i)
    if (wanted[i] && runs[i].parent >= 0 && !options.list)
      wanted[static_cast<std::size_t>(runs[i].parent)] = true;
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < runs.size(); ++i)
    if (wanted[i]) out.push_back(i);
  if (out.empty())
    throw UsageError("[experiment] --only " + options.only + " matches no run: --list shows them");
  return out;
}

int list(const Experiment& experiment, const std::vector<Run>& runs, const std::vector<std::size_t>& which) {
  for (const std::size_t index : which) {
    std::string line;
    for (const auto& command : commands_of(experiment, runs[index], runs)) {
      line += (line.empty() ? "" : " && ") + program;
      for (const std::string& word : command) line += " " + shell_word(word);
    }
    std::printf("%s\n", line.c_str());
  }
  return done;
}

/// Before anything runs: whoever mixes settings in one folder should learn it at once.
void require_same_settings(const Experiment& experiment, const std::vector<Run>& runs,
                           const std::vector<std::size_t>& which) {
  std::string all;
  for (const std::size_t index : which) {
    const RunProgress progress = inspect(experiment, runs[index], runs);
    if (progress.state != State::differs) continue;
    all += "\n  " + runs[index].folder + ":";
    for (const std::string& key : progress.differing) all += " " + key;
  }
  if (!all.empty())
    throw UsageError("[experiment] runs with other settings are in the folder, which differ in" + all +
                     "\nGive those settings or another --out, or replace the runs with --rerun");
}

void require_roots(const std::vector<Run>& runs, const std::vector<std::size_t>& which) {
  for (const std::size_t index : which)
    if (const std::string& name = runs[index].undefined; !name.empty())
      throw UsageError("[experiment] " + runs[index].id() + " needs the folder {" + name + "}: give --root " +
                       (name == "root" ? "" : name + "=") + "DIR");
}

/// Works through `pending` until everything is done, time is up or somebody interrupts.
class Session {
 public:
  Session(const Options& options, const Experiment& experiment, const std::vector<Run>& runs)
      : options_(options), experiment_(experiment), runs_(runs) {
    if (!options.budget.empty())
      end_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(
                                as_usage([&] { return parse_duration(options.budget); })));
  }

  int work(std::vector<std::size_t> pending) {
    catch_interrupts();
    std::erase_if(pending, [&](std::size_t index) {
      return inspect(experiment_, runs_[index], runs_).state == State::finished;
    });
    const std::size_t total = pending.size();
    note(std::to_string(total) + " runs to do");
    std::size_t failures = 0, ended = 0;
    bool told = false;
    while (!pending.empty() && !stopped()) {
      const std::size_t before = pending.size();
      for (std::size_t i = 0; i < pending.size() && !stopped();) {
        const std::size_t index = pending[i];
        const std::string label =
            "[" + std::to_string(ended + 1) + "/" + std::to_string(total) + "] " + runs_[index].id();
        RunEnd end = run_one(experiment_, runs_, index, label, options_.rerun);
        if (end == RunEnd::held && parent_failed(index)) {
          note(label + ": left out, the run it is quantized from failed");
          end = RunEnd::failed;
        }
        if (end == RunEnd::interrupted) break;
        if (end == RunEnd::held) {
          ++i;
          continue;
        }
        if (end == RunEnd::failed) ++failures, failed_.push_back(index);
        ++ended;
        pending.erase(pending.begin() + static_cast<std::ptrdiff_t>(i));
        report();
      }
      if (pending.size() < before || stopped()) continue;
      if (!told) note("waiting for " + std::to_string(pending.size()) + " runs that other processes have");
      told = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
    }
    report();
    std::printf("%s/report.md\n", options_.out.c_str());
    if (failures) note(std::to_string(failures) + " runs failed; the same command tries them again");
    if (!pending.empty()) {
      note((interrupted() ? "interrupted" : "--budget is used up") + std::string("; ") +
           std::to_string(pending.size()) + " runs are left. Go on with:\n  " + options_.command);
      return interrupted_and_saved;
    }
    return failures ? failed : done;
  }

  void report() const {
    write_report(invocation_of(options_), Results(experiment_, collect(experiment_, runs_)),
                 options_.command);
  }

 private:
  bool stopped() const { return interrupted() || (end_ && Clock::now() >= *end_); }
  bool parent_failed(std::size_t index) const {
    const int parent = runs_[index].parent;
    return parent >= 0 &&
           std::find(failed_.begin(), failed_.end(), static_cast<std::size_t>(parent)) != failed_.end();
  }

  const Options& options_;
  const Experiment& experiment_;
  const std::vector<Run>& runs_;
  std::optional<Clock::time_point> end_;
  std::vector<std::size_t> failed_;
};

/// Steps of a run are tried where no finished one tells the speed, and its data are there.
std::optional<Speed> speed_of(const Experiment& experiment, const std::vector<RunResult>& results,
                              const std::vector<std::size_t>& which) {
  const Run* tried = nullptr;
  for (const std::size_t index : which) {
    const RunResult& result = results[index];
    if (result.finished() || estimated_seconds(experiment, result, results)) continue;
    if (!tried && result.run.parent < 0 && result.run.undefined.empty()) tried = &result.run;
  }
  if (!tried) return {};
  try {
    note("measuring steps of " + tried->id());
    const auto speed =
        measured_speed(experiment, *tried, [](const std::string& what) { note("measuring: " + what); });
    if (speed)
      note("memory of its tensors: about " + std::to_string(speed->peak_bytes >> 20) + " MiB at the most");
    return speed;
  } catch (const std::exception& error) {
    note(std::string("times are not known: ") + error.what());
    return {};
  }
}

int plan(const Experiment& experiment, const std::vector<Run>& runs, const std::vector<std::size_t>& which) {
  std::vector<std::vector<std::string>> rows{{"run", "task/method/seed", "state", "steps", "time"}};
  const std::vector<RunResult> results = collect(experiment, runs);
  const std::optional<Speed> speed = speed_of(experiment, results, which);
  double left = 0;
  int unknown = 0;
  for (const std::size_t index : which) {
    const RunResult& result = results[index];
    const bool finished = result.finished();
    double seconds = -1;  // not known
    if (!finished) seconds = estimated_seconds(experiment, result, results, speed).value_or(-1);
    std::string state = to_string(result.progress.state);
    if (result.progress.state == State::started) state += " " + std::to_string(result.progress.step);
    rows.push_back({std::to_string(index + 1), result.run.id(), state,
                    result.run.parent >= 0 ? "quantized" : std::to_string(result.run.config.train.steps),
                    finished       ? duration(result.record.train_seconds + result.record.eval_seconds)
                    : seconds >= 0 ? "about " + duration(seconds)
                                   : "?"});
    left += std::max(0.0, seconds);
    unknown += finished || seconds >= 0 ? 0 : 1;
  }
  std::fputs(table(rows).c_str(), stdout);
  std::string text = "left: about " + duration(left);
  if (unknown) text += ", and " + std::to_string(unknown) + " runs whose time is not known";
  note(text);
  return done;
}

}  // namespace

int run_session(const Experiment& experiment, const SessionOptions& options) {
  const std::vector<Run> runs = as_usage([&] { return list_runs(experiment, invocation_of(options)); });
  const std::vector<std::size_t> which = chosen(options, runs);
  if (options.list) return list(experiment, runs, which);
  if (options.plan) return plan(experiment, runs, which);
  Session session(options, experiment, runs);
  if (options.collect) {
    if (!fs::is_directory(options.out)) throw UsageError("[experiment] there is no folder " + options.out);
    session.report();
    std::printf("%s/report.md\n", options.out.c_str());
    return done;
  }
  require_roots(runs, which);
  if (!options.rerun) require_same_settings(experiment, runs, which);
  return session.work(which);
}

void add_session_options(CLI::App* command, SessionOptions& options) {
  command
      ->add_option("--set", options.settings,
                   "changes a key of every run's configuration; may be given again")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  auto* only =
      command
          ->add_option("--only", options.only,
                       "runs whose task/method/seedN matches ('m2u/*/seed1') or contains the pattern")
          ->type_name("PATTERN");
  command->add_option("--index", options.index, "one run, by its line in --list: for job arrays")
      ->type_name("N")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->excludes(only);
  command->add_option("--budget", options.budget, "no run is started after this time: 2h, 90m, 1h30m")
      ->type_name("TIME");
  auto* plan =
      command->add_flag("--plan", options.plan, "prints the runs, how far each is and how long it takes");
  auto* list =
      command->add_flag("--list", options.list, "prints one command line for each run")->excludes(plan);
  command->add_flag("--collect", options.collect, "writes tables and plots of what is there and runs nothing")
      ->excludes(plan)
      ->excludes(list);
  command->add_flag("--rerun", options.rerun, "replaces runs whose settings differ instead of refusing");
}

}  // namespace rtfq::cli
