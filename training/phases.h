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

/// What the teacher is asked in a step of phase "adapt".
struct TeacherQuestions {
  bool distils = false;  ///< the largest teacher's probabilities, for random and smallest subnets
  bool labels = false;   ///< the same, as pseudo-labels of the largest
  bool shares = false;   ///< the same, for the class shares of loss.information_prior
  /// Whose mean the smallest learns from; empty: the largest teacher's alone.
  std::vector<Subnet> ensemble;
  bool any() const { return distils || labels || shares; }
};
TeacherQuestions teacher_questions(const Config&, const std::vector<PassPlan>&);

}  // namespace rtfq
