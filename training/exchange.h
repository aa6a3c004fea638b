#pragma once
// What the ranks of a job tell each other in a step, besides what operations sum by themselves
// (engine/reducer.h). With one rank all of it does nothing.

#include <span>
#include <string>
#include <vector>

#include "models/supernet.h"
#include "training/step.h"

namespace rtfq {

/// Gradients become their sums over all ranks. They are packed into buckets of some MiB, since a network has
/// hundreds of small parameters. Comes after the last pass: before, no gradient is complete, as all passes
/// add to the same.
void sum_gradients(std::span<Parameter* const> parameters);

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
