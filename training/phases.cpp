#include "training/phases.h"

#include <algorithm>

#include "training/network.h"

namespace rtfq {

int64_t adapts_from(const TrainConfig& train) {
  if (train.method == "source_only") return train.steps;
  // mcc has no quantized steps on the source.
  return train.float_steps + (train.method == "mcc" ? 0 : train.source_steps);
}

std::string phase_at(const TrainConfig& train, int64_t step) {
  if (train.method == "source_only" || step < train.float_steps) return "float";
  return step < adapts_from(train) ? "source" : "adapt";
}

std::vector<Phase> phases_of(const TrainConfig& train) {
  std::vector<Phase> phases;
  for (int64_t begin = 0; begin < train.steps;) {
    const std::string name = phase_at(train, begin);
    const int64_t end = name == "adapt"                 ? train.steps
                        : name == "source"              ? adapts_from(train)
                        : train.method == "source_only" ? train.steps
                                                        : train.float_steps;
    phases.push_back({name, begin, end});
    begin = end;
  }
  return phases;
}

std::vector<PassPlan> passes_at(const Config& config, int64_t step) {
  const TrainConfig& train = config.train;
  if (phase_at(train, step) == "float") return single_pass(float_subnet(config));
  if (trains_single(config)) return single_pass(teaching_subnet(config));
  return sample_passes(config.model.bank, train.sampler, train.passes, train.seed,
                       static_cast<uint64_t>(step));
}

TeacherQuestions teacher_questions(const Config& config, const std::vector<PassPlan>& passes) {
  const LossConfig& loss = config.loss;
  const auto any = [&](Role role) {
    return std::any_of(passes.begin(), passes.end(), [&](const PassPlan& p) { return p.role == role; });
  };
  TeacherQuestions asked;
  asked.distils = loss.distillation > 0 && (any(Role::smallest) || any(Role::random));
  asked.labels = loss.pseudo_label > 0 && loss.pseudo_source == "teacher" && any(Role::largest);
  asked.shares = loss.information > 0 && loss.information_prior == "teacher";
  if (config.train.method == "mcc") return {};  // learns from no teacher
  if (asked.distils && any(Role::smallest) && loss.ensemble != "largest")
    asked.ensemble = loss.ensemble == "all" ? intermediate_teachers(config.model.bank)
                                            : intermediate_teachers(config.model.bank, passes);
  return asked;
}

}  // namespace rtfq
