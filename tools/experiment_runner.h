#pragma once
// Runs of an experiment, one at a time, as processes of this executable.

#include <string>
#include <vector>

#include "training/experiment_runs.h"

namespace rtfq::cli {

/// The commands that make a run: `rtfq train` or `rtfq quantize`, then `rtfq eval`.
std::vector<std::vector<std::string>> commands_of(const experiment::Experiment&, const experiment::Run&,
                                                  const std::vector<experiment::Run>& all);

enum class RunEnd {
  finished,
  failed,
  held,        ///< another process has it, or the run that it is quantized from is not finished
  interrupted  ///< saved
};

/// Does what is missing of a run. `label` begins what is shown of it. A folder with other settings is removed
/// where `rerun` says so, else the run fails.
RunEnd run_one(const experiment::Experiment&, const std::vector<experiment::Run>&, std::size_t index,
               const std::string& label, bool rerun);

}  // namespace rtfq::cli
