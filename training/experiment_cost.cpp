// What runs cost: in multiply-adds, and in time before they have run.
#include <algorithm>

#include "training/experiment_results.h"
#include "training/plan.h"
#include "training/step_macs.h"

namespace rtfq::experiment {
namespace {

/// Seconds for a multiply-add of training, evaluation and the rest included: of finished runs of the same
/// method and task, else of the same method, else of any.
std::optional<double> seconds_a_mac(const RunResult& wanted, const std::vector<RunResult>& all) {
  for (const int alike : {2, 1, 0}) {
    double seconds = 0, macs = 0;
    for (const RunResult& result : all) {
      if (!result.finished() || result.record.train_seconds == 0 || result.train_macs == 0) continue;
      if (alike >= 1 && result.run.method != wanted.run.method) continue;
      if (alike == 2 && result.run.task != wanted.run.task) continue;
      seconds += result.record.train_seconds + result.record.eval_seconds;
      macs += result.train_macs;
    }
    if (macs > 0) return seconds / macs;
  }
  return {};
}

}  // namespace

double Speed::evaluating(const Experiment& experiment, const Run& run) const {
  return subnet_seconds * static_cast<double>(evaluated_subnets(experiment, run).size());
}

std::optional<Speed> measured_speed(const Experiment& experiment, const Run& run,
                                    const std::function<void(const std::string&)>& say) {
  PlanOptions options;
  options.seconds_per_phase = 3;
  const TrainingPlan plan = plan_training(run.config, options, say);
  double seconds = 0;
  for (const PhasePlan& phase : plan.phases) seconds += phase.seconds;
  const double macs = training_macs(run.config, plan.classes);
  if (macs == 0) return {};
  Speed speed{.mac_seconds = seconds / macs, .classes = plan.classes, .peak_bytes = plan.peak_bytes};
  if (plan.calibrated > 0) {  // evaluation runs the same forward passes as calibration
    double calibrated = 0;
    for (const int64_t images : {plan.source_images, plan.calibration_domains > 1 ? plan.target_images : 0})
      calibrated += static_cast<double>(std::min(images, run.config.train.calibration_images));
    const double evaluated =
        static_cast<double>(plan.target_images + (experiment.evaluation.source ? plan.source_images : 0));
    speed.subnet_seconds =
        plan.calibration_seconds / static_cast<double>(plan.calibrated) * (1 + evaluated / calibrated);
  }
  return speed;
}

std::optional<double> estimated_seconds(const Experiment& experiment, const RunResult& wanted,
                                        const std::vector<RunResult>& all,
                                        const std::optional<Speed>& speed) {
  if (wanted.run.parent >= 0) {  // nothing is trained: as long as others took
    double seconds = 0, count = 0;
    for (const RunResult& result : all)
      if (result.finished() && result.run.parent >= 0 && result.record.train_seconds > 0)
        seconds += result.record.train_seconds + result.record.eval_seconds, ++count;
    if (count > 0) return seconds / count;
    return speed ? std::optional(speed->evaluating(experiment, wanted.run)) : std::nullopt;
  }
  const TrainConfig& train = wanted.run.config.train;
  const double left = 1 - static_cast<double>(wanted.progress.step) / static_cast<double>(train.steps);
  if (const auto rate = seconds_a_mac(wanted, all)) {
    int64_t classes = 0;  // of the task, else of any
    for (const RunResult& result : all)
      if (result.record.classes > 0 && (classes == 0 || result.run.task == wanted.run.task))
        classes = result.record.classes;
    return *rate * training_macs(wanted.run.config, classes) * left;
  }
  if (!speed) return {};
  return speed->mac_seconds * training_macs(wanted.run.config, speed->classes) * left +
         speed->evaluating(experiment, wanted.run);
}

double training_macs(const Config& config, int64_t classes) {
  return StepMacs(config, classes).of_run();
}

}  // namespace rtfq::experiment
