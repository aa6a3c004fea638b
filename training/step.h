#pragma once
// One optimizer step on given images: teacher forwards, the passes with their losses, the update, the moving
// average (docs/method.md, "Training"). Trainer gives it batches from loaders; the step benchmark gives it
// noise.

#include <map>
#include <string>

#include "training/optimizer.h"
#include "training/pass.h"

namespace rtfq {

class PassGraphs;

struct StepInput {
  Tensor images;        ///< f32 [source + target, R, R, C], source first, R the bank's largest resolution
  Tensor plain_target;  ///< f32 [target, R, R, C], what the teacher sees where it is defined
  std::vector<int32_t> labels;  ///< of the source images
  Tensor labels_there;          ///< the same on the device, where they are there already
  std::vector<PassPlan> passes;
  double learning_rate = 0;
  double ramp = 1;                ///< factor on the weights of the target's losses
  int64_t step = 0;               ///< for messages
  ClassShares* shares = nullptr;  ///< read and updated where a loss wants them
  PassGraphs* graphs = nullptr;   ///< where there are some, they run the passes

  int64_t source_rows() const { return static_cast<int64_t>(labels.size()); }
  int64_t target_rows() const { return images.dim(0) - source_rows(); }
};

struct StepResult {
  double loss = 0;                      ///< weighted sum over all passes
  std::map<std::string, double> terms;  ///< unweighted, averaged over the passes that had them
  /// The same for the passes of each role: "largest", "random", "paired" (learns from the pass before it, of
  /// the same architecture at the next higher bit-width) and "smallest".
  std::map<std::string, std::map<std::string, double>> roles;
  double source_accuracy = 0;  ///< of the largest subnet on the source images, percent
  double gradient_norm = 0;
  double exchange_waited = 0;      ///< seconds that the step waited for sums of gradients begun beside it
  double exchange_overlapped = 0;  ///< seconds that those took while it was computing
};

/// Trains `student` one step; where there are target images also learns from `teacher`, which then follows
/// it. Images may be on the host or on the networks' device. The host waits for the device once, for the
/// losses, before the update. Throws NonFiniteLoss before any weight has changed.
StepResult run_step(Supernet& student, Supernet* teacher, Optimizer&, const Config&, const StepInput&);

/// The loss was NaN, infinite or above train.max_loss: says the step, the term and the subnet, and the first
/// layer whose output was not finite.
class NonFiniteLoss : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace rtfq
