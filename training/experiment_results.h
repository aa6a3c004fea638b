#pragma once
// What the runs of an experiment have measured, and the numbers that tables and plots are made of.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "training/evaluation.h"
#include "training/experiment_runs.h"

namespace rtfq::experiment {

/// A run with what it has produced so far.
struct RunResult {
  Run run;
  RunProgress progress;
  Record record;
  // Of a finished run:
  std::vector<SubnetScore> scores;
  SubnetCost full_precision;  ///< the largest architecture, not quantized
  double train_macs = 0;      ///< see training_macs

  bool finished() const { return progress.state == State::finished; }
};

/// Looks at every run's folder. A file that cannot be read makes its run a failed one.
std::vector<RunResult> collect(const Experiment&, const std::vector<Run>&);

/// Adds to a record what its run's checkpoint and log say: the number of classes, the seconds of the steps.
void complete(Record&, const Run&);

/// How fast this machine trains a configuration like one that was tried.
struct Speed {
  double mac_seconds = 0;     ///< of a multiply-add of training
  double subnet_seconds = 0;  ///< calibration and evaluation of one subnet
  int64_t classes = 0;
  std::size_t peak_bytes = 0;  ///< of tensors, in the run that was tried

  double evaluating(const Experiment&, const Run&) const;
};
/// Tries steps of a run for some seconds (training/plan.h). Throws what Trainer throws where data are
/// missing.
std::optional<Speed> measured_speed(const Experiment&, const Run&,
                                    const std::function<void(const std::string&)>& say);

/// Seconds that a run still takes, from its multiply-adds and the speed of finished ones: of the same method
/// and task, else of the same method, else of any, else the speed given. Nothing where none of these tells.
std::optional<double> estimated_seconds(const Experiment&, const RunResult&,
                                        const std::vector<RunResult>& all, const std::optional<Speed>& = {});

/// Multiply-adds of a whole training run (training/step_macs.h).
double training_macs(const Config&, int64_t classes);

/// The subnets that a method, or the methods of a group together, measured on one task with one seed.
struct Measured {
  std::vector<SubnetScore> scores;
  Bank bank;  ///< all values that the methods' banks have
  SubnetCost full_precision;
};

/// The number of a run that a table asks for; nothing where the run has no such subnet, or just one subnet
/// and the value is taken over several.
std::optional<double> number(const Value&, const Measured&);

/// The values of all seeds of a cell.
struct Summary {
  std::vector<double> values;  ///< one a seed that has it
  int planned = 0;             ///< seeds that are to run
  bool undefined = false;      ///< finished runs have no such value

  double mean() const;
  /// The sample standard deviation (n - 1); nothing for fewer than two values.
  std::optional<double> deviation() const;
};

/// Results by method (or group), task and seed.
class Results {
 public:
  Results(const Experiment&, std::vector<RunResult>);

  const Experiment& experiment() const { return experiment_; }
  const std::vector<RunResult>& runs() const { return runs_; }

  /// The seeds that a method or group is to run on a task: those of all its methods that run there.
  std::vector<uint64_t> seeds(const std::string& row, const std::string& task) const;
  /// Nothing unless every run of it is finished.
  std::optional<Measured> measured(const std::string& row, const std::string& task, uint64_t seed) const;
  /// Over the seeds; of several tasks each seed counts with its mean over the tasks, and only where all of
  /// them have it.
  Summary summarize(const std::string& row, const std::vector<std::string>& tasks, const Value&) const;
  /// Finished runs of a method or group on a task.
  std::vector<const RunResult*> finished(const std::string& row, const std::string& task) const;
  /// Union of the banks of these methods or groups, largest values first.
  Bank bank(const std::vector<std::string>& rows) const;

 private:
  std::vector<const RunResult*> of(const std::string& row, const std::string& task) const;
  const Experiment& experiment_;
  std::vector<RunResult> runs_;
};

}  // namespace rtfq::experiment
