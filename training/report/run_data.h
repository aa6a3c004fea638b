#pragma once
// What a run's folder holds, read for a report. Everything but the configuration may be missing.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "training/evaluation.h"
#include "training/run_folder.h"

namespace rtfq::report {

using Terms = std::map<std::string, double>;

/// One entry of log.jsonl; what an older log lacks is NaN or empty.
struct LoggedStep {
  int64_t step = 0;
  std::string phase;
  double loss = 0, source_accuracy = 0, gradient_norm = 0, learning_rate = 0, seconds = 0, wait_seconds = 0;
  double images = 0;
  Terms terms;                         ///< means over all passes
  std::map<std::string, Terms> roles;  ///< means over the passes of a role
};

/// One quantizer of quantizers.jsonl at one bit-width.
struct StepSizes {
  std::string name;
  bool weight = false;
  int bits = 0;
  std::vector<double> steps;  ///< of training
  std::vector<double> sizes;  ///< step sizes then
};

/// A process that trained: the start entry of sessions.jsonl, and the end where it had one.
struct Session {
  int64_t from_step = 0;
  std::string started, ended, how;  ///< dates; "finished", "interrupted", "failed" or empty
  std::string version, commit, cpu;
  int threads = 0;
  int64_t source_images = 0, target_images = 0, classes = 0;
};

struct RunData {
  std::string name;  ///< the folder's own
  RunPaths paths;
  Config config;
  std::vector<LoggedStep> log;
  std::vector<StepSizes> step_sizes;
  std::vector<Session> sessions;
  std::vector<SubnetScore> scores;   ///< of subnets.json, sorted by BitOPs
  std::vector<std::string> missing;  ///< sentences: what is not there and what would add it

  bool source_only() const { return config.train.method == "source_only"; }
  int64_t last_step() const { return log.empty() ? 0 : log.back().step; }
  bool finished() const { return last_step() >= config.train.steps; }
};

/// `program`: how rtfq is called in the commands that `missing` suggests. Throws std::invalid_argument when
/// the folder holds no run, std::runtime_error when its configuration cannot be read.
RunData read_run(const std::string& folder, const std::string& program);

}  // namespace rtfq::report
