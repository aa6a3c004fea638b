#pragma once
// Experiment files in a folder of their own, and finished runs with made-up accuracies.

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "training/experiment.h"
#include "training/experiment_tables.h"

namespace rtfq::experiment {

/// A folder for files, gone when the test ends.
class Files {
 public:
  Files() { std::filesystem::create_directories(folder_ / "shared"); }
  ~Files() { std::filesystem::remove_all(folder_); }
  std::string at(const std::string& name) const { return (folder_ / name).string(); }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name) << text;
  }
  Experiment read(const std::string& text) const {
    write("x.jsonc", text);
    return read_experiment(at("x.jsonc"));
  }
  std::string refusal(const std::string& text) const {
    try {
      list_runs(read(text), {"out", {}, {}});
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "(accepted)";
  }

 private:
  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("rtfq-experiment-" + std::to_string(::getpid()));
};

/// A whole file with `more` after its methods.
inline std::string file(const std::string& more,
                        const std::string& methods = R"("rtfq": {}, "float": {"bank.bits": [32]})") {
  return R"({"name": "x", "title": "t", "claim": "c", "base": "glyphs", "tasks": {"a": {}, "b": {}}, "methods": {)" +
         methods + R"(}, "seeds": [1, 2], )" + more + "}";
}

inline std::vector<std::string> ids(const std::vector<Run>& runs) {
  std::vector<std::string> out;
  for (const Run& run : runs) out.push_back(run.id());
  return out;
}

inline SubnetScore score(double width, int bits, double accuracy, int64_t macs) {
  const Subnet subnet{width, 1, 32, bits};
  return {.subnet = subnet,
          .cost = {.params = 10, .bytes = 100 * bits, .macs = macs, .bitops = macs * bits * bits},
          .accuracy = accuracy,
          .source_accuracy = {}};
}

/// A finished run of two widths at two bit-widths with accuracies large 8, large 4, small 8, small 4.
inline RunResult finished(const Experiment& experiment, const std::string& task, const std::string& method,
                          uint64_t seed, const std::vector<double>& accuracies) {
  for (const Run& run : list_runs(experiment, {"out", {}, {}})) {
    if (run.task != task || run.method != method || run.seed != seed) continue;
    RunResult result{.run = run, .progress = {}, .record = {}, .scores = {}, .full_precision = {}};
    if (accuracies.empty()) return result;
    result.progress.state = State::finished;
    result.scores = {score(1, 8, accuracies[0], 1000), score(1, 4, accuracies[1], 1000),
                     score(0.5, 8, accuracies[2], 300), score(0.5, 4, accuracies[3], 300)};
    result.full_precision = {.params = 10, .bytes = 4000, .macs = 1000, .bitops = 1024000};
    return result;
  }
  throw std::logic_error("no such run");
}

inline const std::string bank =
    R"("bank": {"widths": [1, 0.5], "resolutions": [32], "bits": [8, 4], "multiple": 8})";

/// Two methods, two tasks, two seeds; "b/second" lacks its second seed.
inline Results example(const Experiment& experiment) {
  return {
      experiment,
      {finished(experiment, "a", "first", 1, {90, 88, 80, 70}),
       finished(experiment, "a", "first", 2, {94, 86, 82, 74}),
       finished(experiment, "b", "first", 1, {60, 60, 60, 60}),
       finished(experiment, "b", "first", 2, {50, 50, 50, 50}),
       finished(experiment, "a", "second", 1, {95, 80, 70, 60}),
       finished(experiment, "a", "second", 2, {95, 80, 70, 60}),
       finished(experiment, "b", "second", 1, {70, 70, 70, 70}), finished(experiment, "b", "second", 2, {})}};
}

inline const std::string two_methods =
    R"("first": {)" + bank + R"(}, "second": {"title": "the, second", )" + bank + "}";

}  // namespace rtfq::experiment
