#pragma once
// The state behind Trainer: private to training/trainer*.cpp.

#include "training/device_images.h"
#include "training/network.h"
#include "training/optimizer.h"
#include "training/pass_graphs.h"
#include "training/trainer.h"

namespace rtfq {

/// What a step changes before its update: a step that is left in the middle puts it back. Norms' running
/// statistics, step sizes (a pass sets those that no pass has set) and class shares.
class StepSnapshot {
 public:
  StepSnapshot(Supernet& student, ClassShares& shares);
  void restore();

 private:
  Supernet& student_;
  ClassShares &shares_, shares_before_;
  std::vector<std::pair<Tensor, Tensor>> tensors_;  ///< where they are, and what was in them
};

struct Trainer::State {
  explicit State(const Config&);
  /// Networks begin on the CPU, where checkpoints are read into them.
  void move_to_device();
  /// The loaders' position and what a new phase begins with; called at the start of every step.
  void enter_phase(const std::string& phase);

  Config config;
  TrainingData data;
  std::vector<std::string> classes;
  std::unique_ptr<Supernet> student, teacher;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<PassGraphs> graphs;    ///< where the configuration wants them
  std::unique_ptr<DeviceImages> images;  ///< once the networks are on their device
  std::unique_ptr<data::Loader> source, target;
  ClassShares shares;
  int64_t step = 0;
  double rate_factor = 1;      ///< on the schedule's learning rate
  double step_seconds = 1e30;  ///< of the last step; at first it may take any time
  std::string pretrained;      ///< record_of what the run started from; empty: random weights
};

}  // namespace rtfq
