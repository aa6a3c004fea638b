#pragma once
// Working through the runs of an experiment: what `rtfq experiment` and `rtfq benchmark` share.

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "training/experiment.h"

namespace rtfq::cli {

struct SessionOptions {
  std::string out, only, budget;
  std::vector<std::string> roots;     ///< DIR or NAME=DIR
  std::vector<std::string> settings;  ///< of every run
  int64_t index = 0;
  bool plan = false, list = false, collect = false, rerun = false;
  std::string command;  ///< that repeats everything, without what only chooses a part of it
};

/// --set, --only, --index, --budget, --plan, --list, --collect and --rerun. `options` must outlive the
/// command.
void add_session_options(CLI::App* command, SessionOptions& options);

/// Lists, plans, collects or runs; the exit status.
int run_session(const experiment::Experiment&, const SessionOptions&);

}  // namespace rtfq::cli
