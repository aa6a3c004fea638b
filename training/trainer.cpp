#include "training/trainer.h"

#include <chrono>
#include <cmath>
#include <map>

#include "training/calibration.h"
#include "training/losses.h"
#include "training/network.h"
#include "training/optimizer.h"
#include "training/phases.h"
#include "training/schedule.h"
#include "training/start.h"
#include "training/trainer_state.h"

namespace rtfq {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Of the target's losses, which come in over loss.ramp_steps.
double ramp_at(const Config& config, int64_t step) {
  const int64_t since = step - adapts_from(config.train);
  if (config.loss.ramp_steps <= 0) return 1;
  return std::min(1.0, static_cast<double>(since + 1) / config.loss.ramp_steps);
}

}  // namespace

Trainer::Trainer(const Config& config) : state_(std::make_unique<State>(config)) {
  if (!config.checkpoint.empty()) {
    const checkpoint::StartReport report = start_from_checkpoint(*state_->student, config);
    state_->pretrained = record_of(report);
    start_report_ = checkpoint::report_text(report);
  }
  state_->move_to_device();
}
Trainer::Trainer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Trainer::~Trainer() = default;

const Config& Trainer::config() const {
  return state_->config;
}
int64_t Trainer::step() const {
  return state_->step;
}
bool Trainer::finished() const {
  return state_->step >= state_->config.train.steps;
}
Supernet& Trainer::student() {
  return *state_->student;
}

const std::string& Trainer::pretrained() const {
  return state_->pretrained;
}

int64_t Trainer::source_images() const {
  return static_cast<int64_t>(state_->data.source.samples.size());
}
int64_t Trainer::target_images() const {
  return static_cast<int64_t>(state_->data.target.samples.size());
}
int64_t Trainer::classes() const {
  return static_cast<int64_t>(state_->classes.size());
}

StepReport Trainer::train_step() {
  State& s = *state_;
  const double start = now();
  const Config& config = s.config;
  const TrainConfig& train = config.train;
  if (finished()) throw std::logic_error("[train] all " + std::to_string(train.steps) + " steps are done");
  StepReport report;
  report.phase = phase_at(train, s.step);
  s.enter_phase(report.phase);
  const auto waited = [&] { return s.source->wait_seconds() + (s.target ? s.target->wait_seconds() : 0); };
  const double before = waited();
  const data::Batch source = s.source->next();
  const data::Batch target = report.phase == "adapt" ? s.target->next() : data::Batch();
  report.wait_seconds = waited() - before;

  StepInput input;
  const Dims dims{source.n + target.n, source.height, source.width, source.channels};
  input.images = target.n > 0 ? s.images->images({source.pixels, target.pixels}, dims)
                              : s.images->images({source.pixels}, dims);
  if (!target.plain.empty())
    input.plain_target =
        s.images->images({target.plain}, {target.n, target.height, target.width, target.channels});
  input.shares = &s.shares;
  input.labels = source.labels;
  input.labels_there = s.images->labels(source.labels);
  input.step = s.step;
  input.learning_rate = learning_rate(config.optimizer, s.step, train.steps);
  input.passes = passes_at(config, s.step);
  if (report.phase == "adapt") input.ramp = ramp_at(config, s.step);
  const StepResult result = run_step(*s.student, s.teacher.get(), *s.optimizer, config, input);

  report.step = ++s.step;
  report.loss = result.loss;
  report.terms.assign(result.terms.begin(), result.terms.end());
  report.roles = result.roles;
  report.source_accuracy = result.source_accuracy;
  report.gradient_norm = result.gradient_norm;
  report.learning_rate = input.learning_rate;
  report.images = source.n + target.n;
  report.seconds = now() - start;
  return report;
}

void Trainer::calibrate(const Progress& progress) {
  calibrate_bank(*state_->student, state_->config, state_->data, progress);
}

}  // namespace rtfq
