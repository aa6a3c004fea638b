#pragma once
// One optimizer step over everything the passes of a step touched, and the teacher's moving average.

#include "models/supernet.h"
#include "training/config.h"

namespace rtfq {

class Optimizer {
 public:
  Optimizer(Supernet& student, const OptimizerConfig&);

  /// gather, norm and update.
  double step(double learning_rate, int passes);

  /// After the passes of a step, and the exchange of gradients: their norm, and the scale that averages them
  /// over `passes` where the configuration says so and clips them, are computed where they are.
  void gather(int passes);
  /// The norm of what was gathered, before clipping, step sizes left out. Waits for the device.
  double norm() const;
  /// SGD with Nesterov momentum on the touched parameters by what was gathered; gradients are zeroed.
  void update(double learning_rate);
  /// Zeroes what passes have gathered: after a step that failed.
  void discard_gradients();

 private:
  Supernet& student_;
  OptimizerConfig config_;
  std::vector<Parameter*> touched_;
  double scale_ = 1;
  Tensor squares_, clipped_scale_;  ///< f64 [1] as bytes, f32 [1]
};

/// teacher = decay * teacher + (1 - decay) * student, every parameter; a step size the teacher lacks is
/// copied.
void update_teacher(Supernet& teacher, const Supernet& student, double decay);

}  // namespace rtfq
