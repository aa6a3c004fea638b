#include "training/step_macs.h"

#include <algorithm>

#include "training/network.h"
#include "training/phases.h"

namespace rtfq {
namespace {

/// Whom run_step asks, each once.
std::vector<Subnet> teachers(const Config& config, const std::vector<PassPlan>& passes) {
  const TeacherQuestions asked = teacher_questions(config, passes);
  if (!asked.any()) return {};
  std::vector<Subnet> all{teaching_subnet(config)};
  for (const Subnet& subnet : asked.ensemble)
    if (subnet != all.front()) all.push_back(subnet);
  return all;
}

constexpr int64_t counted_steps = 2000;

}  // namespace

StepMacs::StepMacs(const Config& config, int64_t classes)
    : config_(config), options_(supernet_options(config, classes)) {}

double StepMacs::of(const Subnet& subnet) {
  const std::string key = id(subnet);
  const auto found = known_.find(key);
  if (found != known_.end()) return found->second;
  return known_[key] = static_cast<double>(subnet_cost(options_, subnet).macs);
}

double StepMacs::of_step(const std::string& phase, const std::vector<PassPlan>& passes) {
  const double batch = config_.train.batch, rows = phase == "adapt" ? 2 * batch : batch;
  double macs = 0;
  for (const PassPlan& pass : passes) macs += 3 * rows * of(pass.subnet);
  if (phase == "adapt")
    for (const Subnet& teacher : teachers(config_, passes)) macs += batch * of(teacher);
  return macs;
}

double StepMacs::of_run() {
  double sum = 0;
  for (const Phase& phase : phases_of(config_.train)) {
    const int64_t steps = phase.end - phase.begin, counted = std::min(counted_steps, steps);
    double here = 0;
    for (int64_t i = 0; i < counted; ++i)
      here += of_step(phase.name, passes_at(config_, phase.begin + i * steps / counted));
    sum += here * static_cast<double>(steps) / static_cast<double>(counted);
  }
  return sum;
}

}  // namespace rtfq
