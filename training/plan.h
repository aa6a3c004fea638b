#pragma once
// What a training run will take, before it starts: steps, images, multiply-adds, memory, time.

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "training/config.h"

namespace rtfq {

/// One phase of a run. Times are of this machine, with the configuration's threads.
struct PhasePlan {
  std::string name;  ///< "float", "source" or "adapt"
  int64_t steps = 0;
  int64_t images = 0;  ///< of a step
  double source_epochs = 0, target_epochs = 0;
  /// Of a step, the mean over the phase's steps (the sampler is a function of seed and step): forward passes,
  /// twice as much for their gradients, and the teacher's forward passes.
  double macs = 0;
  double step_seconds = 0;  ///< median of the timed steps, images at hand
  double step_spread = 0;   ///< between the quartiles
  int timed_steps = 0;
  double load_seconds = 0;  ///< that the loaders alone need for a step's images
  double seconds = 0;       ///< of the whole phase
};

struct TrainingPlan {
  std::vector<PhasePlan> phases;
  int64_t steps = 0;
  int64_t images = 0;                                         ///< of all steps
  int64_t source_images = 0, target_images = 0, classes = 0;  ///< of the data sets
  int64_t calibrated = 0;  ///< subnets, each on `calibration_domains` domains; 0: running averages stay
  int calibration_domains = 0;
  double calibration_seconds = 0;
  double seconds = 0;               ///< of the phases and the calibration
  std::size_t peak_bytes = 0;       ///< highest memory of tensors, predicted
  std::size_t available_bytes = 0;  ///< memory this machine has to spare now; 0: unknown
  /// Steps were timed with a quarter of the batch and their time multiplied, because whole ones would not
  /// fit.
  bool scaled = false;

  bool fits() const { return available_bytes == 0 || peak_bytes <= available_bytes; }
};

struct PlanOptions {
  double seconds_per_phase = 10;  ///< after which no further step of a phase is timed; one always is
  bool timed = true;  ///< false: times stay 0, and only steps of small batches run, for the memory
};

/// Trains nothing and writes nothing. Opens the data as training does, so that what is wrong with them is
/// said at once, and decodes some images; then runs steps on noise of the right shape with a learning rate of
/// 0. Time: of each phase the three steps whose multiply-adds are nearest the mean, each once untimed and up
/// to twice timed. Loading goes on beside computing; where the threads of both are more than the processors,
/// its work is added instead. Memory: steps with an eighth and a quarter of the batch, and the straight line
/// through their peaks; the same for the calibration. `say` is told what is being measured. Throws what
/// Trainer's constructor throws.
TrainingPlan plan_training(const Config&, const PlanOptions& = {},
                           const std::function<void(const std::string&)>& say = {});

/// Memory that can still be taken without swapping (/proc/meminfo, and the limit of the control group); 0:
/// unknown.
std::size_t available_memory();

}  // namespace rtfq
