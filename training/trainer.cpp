#include "training/trainer.h"

#include <chrono>
#include <cmath>
#include <map>
#include <optional>

#include "engine/cancellation.h"
#include "engine/reducer.h"
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

/// Steps shorter than this are not worth leaving in the middle.
constexpr double long_step = 2.0;

}  // namespace

StepSnapshot::StepSnapshot(Supernet& student, ClassShares& shares) : student_(student), shares_(shares) {
  // Shares may be updated in place.
  if (shares.student.defined()) shares_before_.student = shares.student.clone();
  if (shares.teacher.defined()) shares_before_.teacher = shares.teacher.clone();
  for (const auto& [name, tensor] : student.buffers()) tensors_.emplace_back(tensor, tensor.clone());
  for (const Parameter* p : student.parameters())
    if (p->kind == ParameterKind::step) tensors_.emplace_back(p->value, p->value.clone());
}

void StepSnapshot::restore() {
  for (const auto& [there, before] : tensors_) there.copy_from(before);
  shares_ = shares_before_;
  student_.values_loaded();
}

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

int64_t Trainer::graph_launches() const {
  return state_->graphs ? state_->graphs->launches() : 0;
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
  input.graphs = s.graphs.get();
  input.labels = source.labels;
  input.labels_there = s.images->labels(source.labels);
  input.step = s.step;
  input.learning_rate = s.rate_factor * learning_rate(config.optimizer, s.step, train.steps);
  input.passes = passes_at(config, s.step);
  if (report.phase == "adapt") input.ramp = ramp_at(config, s.step);
  const Traffic before_sums = reducer().traffic();
  StepResult result;
  {
    // Leaving alone would leave the other ranks waiting.
    const bool cancellable = s.step_seconds >= long_step && reducer().ranks() == 1;
    std::optional<StepSnapshot> snapshot;
    if (cancellable) snapshot.emplace(*s.student, s.shares);
    const CancellationScope scope(cancellable);
    try {
      result = run_step(*s.student, s.teacher.get(), *s.optimizer, config, input);
    } catch (const Cancelled&) {
      snapshot->restore();
      throw;
    }
  }

  report.step = ++s.step;
  report.loss = result.loss;
  report.terms.assign(result.terms.begin(), result.terms.end());
  report.roles = result.roles;
  report.source_accuracy = result.source_accuracy;
  report.gradient_norm = result.gradient_norm;
  report.learning_rate = input.learning_rate;
  report.images = int64_t{source.n + target.n} * reducer().ranks();
  const Traffic sums = reducer().traffic();
  report.exchanged_bytes = static_cast<int64_t>(sums.bytes - before_sums.bytes);
  report.exchange_seconds = sums.seconds - before_sums.seconds + result.exchange_waited;
  report.overlapped_seconds = result.exchange_overlapped;
  report.seconds = s.step_seconds = now() - start;
  return report;
}

double Trainer::slow_down() {
  return state_->rate_factor *= 0.5;
}
double Trainer::rate_factor() const {
  return state_->rate_factor;
}

void Trainer::calibrate(const Progress& progress) {
  // Left in the middle it is done anew, from the last step's weights.
  const CancellationScope scope(reducer().ranks() == 1);
  calibrate_bank(*state_->student, state_->config, state_->data, progress);
}

}  // namespace rtfq
