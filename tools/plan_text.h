#pragma once
#include <string>

#include "training/plan.h"

namespace rtfq::cli {

/// What a plan says, for people: a row a phase, then memory and how times were measured.
std::string plan_text(const TrainingPlan&, const Config&);

}  // namespace rtfq::cli
