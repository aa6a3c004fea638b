#pragma once
// One session of a run: from the folder, new or not, to the last step or to whatever ends it before.

#include <string>

#include "tools/command.h"

namespace rtfq::cli {

struct TrainSession {
  Config config;
  std::string out;
  bool resume = false;
  std::string resume_command;  ///< how the user goes on after an interruption
  int64_t print_every = 0;
};

/// Trains until done. Returns an exit status: done, failed, or interrupted_and_saved.
int run_session(const TrainSession&);

}  // namespace rtfq::cli
