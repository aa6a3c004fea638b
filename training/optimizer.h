#pragma once
// One optimizer step over everything the passes of a step touched, and the teacher's moving average.

#include "models/supernet.h"
#include "training/config.h"

namespace rtfq {

class Optimizer {
 public:
  Optimizer(Supernet& student, const OptimizerConfig&);

  /// SGD with Nesterov momentum on the touched parameters; gradients are joined over ranks, averaged over
  /// `passes` where the configuration says so, clipped, and zeroed. Returns the norm of the gradient before
  /// clipping, step sizes left out.
  double step(double learning_rate, int passes, Stream stream = {});
  /// Zeroes what passes have gathered: after a step that failed.
  void discard_gradients();

 private:
  Supernet& student_;
  OptimizerConfig config_;
};

/// teacher = decay * teacher + (1 - decay) * student, every parameter; a step size the teacher lacks is
/// copied.
void update_teacher(Supernet& teacher, const Supernet& student, double decay, Stream stream = {});

}  // namespace rtfq
