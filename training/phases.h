#pragma once
// Which phase a step of a run belongs to, and which passes it makes: what the trainer does and the plan
// foretells.

#include <string>
#include <vector>

#include "training/config.h"
#include "training/sampler.h"

namespace rtfq {

/// The first step that sees the target.
int64_t adapts_from(const TrainConfig&);
/// "float", "source" or "adapt".
std::string phase_at(const TrainConfig&, int64_t step);

/// Steps [begin, end) of one phase.
struct Phase {
  std::string name;
  int64_t begin, end;
};
/// The phases of a run that have steps, in order.
std::vector<Phase> phases_of(const TrainConfig&);

/// The passes of a step: one in phase "float" and of a single network, else the sampler's.
std::vector<PassPlan> passes_at(const Config&, int64_t step);

}  // namespace rtfq
