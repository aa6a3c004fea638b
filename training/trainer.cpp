#include "training/trainer.h"

#include <chrono>
#include <cmath>
#include <map>

#include "training/losses.h"
#include "training/network.h"
#include "training/optimizer.h"
#include "training/sampler.h"
#include "training/schedule.h"
#include "training/trainer_state.h"

namespace rtfq {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

const char* phase_at(const TrainConfig& train, int64_t step) {
  if (train.method == "source_only" || step < train.float_steps) return "float";
  return step < train.float_steps + train.source_steps ? "source" : "adapt";
}

/// What the passes of one step share and gather.
struct StepWork {
  bool adapts = false;
  int64_t source_rows = 0;
  std::vector<BatchPart> parts;
  std::vector<int32_t> labels;
  double ramp = 1;
  Tensor teacher_largest, teacher_mean;  ///< probabilities on the target
  std::vector<Tensor> higher;            ///< each pass's logits, where another pass learns from them
  std::map<std::string, std::pair<double, int>> terms;
  double total = 0, source_accuracy = 0;
};

}  // namespace

Trainer::Trainer(const Config& config) : state_(std::make_unique<State>(config)) {}
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

namespace {

Tensor images_of(const Config& config, const data::Batch& source, const data::Batch* target) {
  std::vector<uint8_t> pixels = source.pixels;
  if (target) pixels.insert(pixels.end(), target->pixels.begin(), target->pixels.end());
  const Dims dims{source.n + (target ? target->n : 0), source.height, source.width, source.channels};
  return ops::normalize({}, pixels, dims, config.data.mean, config.data.deviation);
}

Tensor teacher_probabilities(Supernet& teacher, const Subnet& subnet, ImagePyramid& target,
                             double temperature) {
  Tape tape(false);
  const Tensor& images = target.at(subnet.resolution);
  const BatchPart part{Domain::target, images.dim(0)};
  return softmax(teacher.forward(tape, subnet, images, std::span(&part, 1), NormMode::batch).data,
                 temperature);
}

Tensor mean_of(const std::vector<Tensor>& probabilities) {
  Tensor mean = Tensor::zeros(probabilities.front().dims());
  float* sum = mean.as<float>();
  for (const Tensor& p : probabilities)
    for (int64_t i = 0; i < mean.count(); ++i)
      sum[i] += p.as<float>()[i] / static_cast<float>(probabilities.size());
  return mean;
}

/// All teacher forwards of a step come before its optimizer step; subnets that several students need run
/// once.
void ask_teacher(Supernet& teacher, const Config& config, const std::vector<PassPlan>& passes,
                 ImagePyramid& target, StepWork& work) {
  const Bank& bank = config.model.bank;
  const double temperature = config.loss.teacher_temperature;
  bool smallest = false, others = false;
  for (const PassPlan& pass : passes) {
    smallest = smallest || pass.role == Role::smallest;
    others = others || pass.role != Role::largest;
  }
  if (!others || config.loss.distillation == 0) return;
  work.teacher_largest = teacher_probabilities(teacher, bank.largest(), target, temperature);
  work.teacher_mean = work.teacher_largest;
  if (!smallest || config.loss.ensemble == "largest") return;
  std::vector<Subnet> between = intermediate_teachers(bank, passes);
  if (config.loss.ensemble == "all") {
    between.clear();
    for (Subnet subnet : bank.subnets()) {
      const bool extreme = subnet.resolution == bank.largest().resolution &&
                           subnet.width == bank.largest().width && subnet.depth == bank.largest().depth;
      const bool other = subnet.resolution == bank.smallest().resolution &&
                         subnet.width == bank.smallest().width && subnet.depth == bank.smallest().depth;
      if (subnet.bits == bank.bits.front() && !extreme && !other) between.push_back(subnet);
    }
  }
  std::vector<Tensor> probabilities;
  for (const Subnet& subnet : between)
    probabilities.push_back(subnet == bank.largest()
                                ? work.teacher_largest
                                : teacher_probabilities(teacher, subnet, target, temperature));
  if (!probabilities.empty()) work.teacher_mean = mean_of(probabilities);
}

void add_losses(PassLoss& loss, const Config& config, const PassPlan& pass, const StepWork& work) {
  const LossConfig& weights = config.loss;
  loss.source(work.labels, weights.smoothing, weights.source);
  if (work.adapts) {
    if (weights.information > 0) loss.information_maximization(work.ramp * weights.information);
    if (pass.role == Role::largest) {
      if (weights.pseudo_label > 0)
        loss.pseudo_labels(weights.pseudo_threshold, work.ramp * weights.pseudo_label);
    } else if (weights.distillation > 0) {
      loss.distillation(pass.role == Role::smallest ? work.teacher_mean : work.teacher_largest,
                        weights.student_temperature, work.ramp * weights.distillation);
    }
  }
  if (pass.learns_from >= 0 && weights.joint > 0)
    loss.joint(softmax(work.higher[static_cast<std::size_t>(pass.learns_from)], weights.joint_temperature),
               weights.joint_temperature, weights.joint);
}

void run_pass(Supernet& student, const Config& config, const PassPlan& pass, ImagePyramid& images,
              int64_t step, StepWork& work) {
  Tape tape(true);
  Variable logits =
      student.forward(tape, pass.subnet, images.at(pass.subnet.resolution), work.parts, NormMode::train);
  PassLoss loss(logits.data, work.source_rows);
  add_losses(loss, config, pass, work);
  for (const auto& [name, value] : loss.terms()) {
    if (!std::isfinite(value))
      throw NonFiniteLoss(
          "[train] step " + std::to_string(step + 1) + ": the " + name + " loss of " + id(pass.subnet) +
          " is not finite; lower optimizer.learning_rate or set optimizer.clip_norm, then resume from the "
          "last checkpoint");
    auto& [sum, count] = work.terms[name];
    sum += value;
    ++count;
  }
  work.total += loss.total();
  if (pass.role == Role::largest)
    work.source_accuracy = percent_right(logits.data.leading(0, work.source_rows), work.labels);
  work.higher.push_back(logits.data);
  tape.backward(logits, loss.gradient());
}

}  // namespace

StepReport Trainer::train_step() {
  State& s = *state_;
  const double start = now();
  const Config& config = s.config;
  const TrainConfig& train = config.train;
  if (finished()) throw std::logic_error("[train] all " + std::to_string(train.steps) + " steps are done");
  StepReport report;
  report.phase = phase_at(train, s.step);
  s.enter_phase(report.phase);
  StepWork work;
  work.adapts = report.phase == "adapt";

  const double waited = s.source->wait_seconds() + (s.target ? s.target->wait_seconds() : 0);
  data::Batch source = s.source->next(), target;
  if (work.adapts) target = s.target->next();
  report.wait_seconds = s.source->wait_seconds() + (s.target ? s.target->wait_seconds() : 0) - waited;
  work.source_rows = source.n;
  work.labels = source.labels;
  work.parts.push_back({Domain::source, source.n});
  if (work.adapts) work.parts.push_back({Domain::target, source.n + target.n});
  ImagePyramid images(images_of(config, source, work.adapts ? &target : nullptr));

  std::vector<PassPlan> passes;
  if (report.phase == "float") {
    Subnet largest = config.model.bank.largest();
    largest.bits = float_bits;
    passes.push_back({largest, Role::largest, -1});
  } else {
    passes = sample_passes(config.model.bank, train.sampler, train.passes, train.seed,
                           static_cast<uint64_t>(s.step));
  }
  if (work.adapts) {
    const int64_t since = s.step - train.float_steps - train.source_steps;
    if (config.loss.ramp_steps > 0)
      work.ramp = std::min(1.0, static_cast<double>(since + 1) / config.loss.ramp_steps);
    ImagePyramid target_images(images.at(config.model.bank.resolutions.front()).slice(0, source.n, target.n));
    ask_teacher(*s.teacher, config, passes, target_images, work);
  }
  for (const PassPlan& pass : passes) run_pass(*s.student, config, pass, images, s.step, work);

  report.learning_rate = learning_rate(config.optimizer, s.step, train.steps);
  s.optimizer->step(report.learning_rate, static_cast<int>(passes.size()));
  if (work.adapts) {
    const double decay = train.teacher_decay > 0 ? train.teacher_decay : std::pow(0.9, train.passes);
    update_teacher(*s.teacher, *s.student, decay);
  }
  report.step = ++s.step;
  report.loss = work.total;
  for (const auto& [name, term] : work.terms) report.terms.emplace_back(name, term.first / term.second);
  report.source_accuracy = work.source_accuracy;
  report.images = source.n + target.n;
  report.seconds = now() - start;
  return report;
}

void Trainer::calibrate(const Progress& progress) {
  State& s = *state_;
  const auto subnets = trained_subnets(s.config);
  const int64_t limit = s.config.train.calibration_images;
  const auto count = static_cast<int64_t>(subnets.size());
  const bool target = s.config.model.domain_norms && !s.data.target.samples.empty();
  const auto report = [&](int64_t offset) {
    return [&, offset](int64_t done, int64_t) {
      if (progress) progress(offset + done, target ? 2 * count : count);
    };
  };
  rtfq::calibrate(*s.student, s.config, subnets, Domain::source, s.data.source, limit, report(0));
  if (target)
    rtfq::calibrate(*s.student, s.config, subnets, Domain::target, s.data.target, limit, report(count));
}

}  // namespace rtfq
