#pragma once
// What the ranks of a job tell each other in a step, besides what operations sum by themselves
// (engine/reducer.h) and gradients (training/gradient_exchange.h). With one rank all of it does nothing.

#include <span>
#include <string>
#include <vector>

#include "models/supernet.h"
#include "training/step.h"

namespace rtfq {

/// Losses, terms and accuracy become means over ranks.
void average(StepResult&);

/// Whether any rank says so.
bool anywhere(bool here);

/// Running statistics of norms become those of rank 0, so that what follows is the same on all ranks.
void share_statistics(const Supernet&);

/// Each element takes the value of the rank that has changed it since `before`; no two ranks may have changed
/// one.
void join_changes(std::span<const Tensor> tensors, std::span<const std::vector<float>> before);

}  // namespace rtfq
