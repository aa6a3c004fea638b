#include "training/step.h"

#include <cmath>

#include "training/network.h"

namespace rtfq {
namespace {

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

/// The teacher's probabilities on the target images.
struct Teaching {
  Tensor largest;  ///< for random subnets
  Tensor mean;     ///< for the smallest
};

/// All teacher forwards of a step come before its update; a subnet that several students learn from runs
/// once.
Teaching ask_teacher(Supernet& teacher, const Config& config, const std::vector<PassPlan>& passes,
                     ImagePyramid& target) {
  const Bank& bank = config.model.bank;
  const double temperature = config.loss.teacher_temperature;
  bool smallest = false, others = false;
  for (const PassPlan& pass : passes) {
    smallest = smallest || pass.role == Role::smallest;
    others = others || pass.role != Role::largest;
  }
  if (!others || config.loss.distillation == 0) return {};
  Teaching teaching;
  teaching.largest = teacher_probabilities(teacher, bank.largest(), target, temperature);
  teaching.mean = teaching.largest;
  if (!smallest || config.loss.ensemble == "largest") return teaching;
  std::vector<Tensor> probabilities;
  for (const Subnet& subnet :
       config.loss.ensemble == "all" ? intermediate_teachers(bank) : intermediate_teachers(bank, passes))
    probabilities.push_back(subnet == bank.largest()
                                ? teaching.largest
                                : teacher_probabilities(teacher, subnet, target, temperature));
  if (!probabilities.empty()) teaching.mean = mean_of(probabilities);
  return teaching;
}

/// What the passes of one step share.
struct Step {
  Supernet& student;
  const Config& config;
  const StepInput& input;
  ImagePyramid images;
  std::vector<BatchPart> parts;
  Teaching teaching;
  std::vector<Tensor> logits;  ///< of each pass so far
};

void add_losses(PassLoss& loss, const Step& step, const PassPlan& pass) {
  const LossConfig& weights = step.config.loss;
  loss.source(step.input.labels, weights.smoothing, weights.source);
  if (step.input.target_rows() > 0) {
    const double ramp = step.input.ramp;
    if (weights.information > 0) loss.information_maximization(ramp * weights.information);
    if (pass.role == Role::largest) {
      if (weights.pseudo_label > 0) loss.pseudo_labels(weights.pseudo_threshold, ramp * weights.pseudo_label);
    } else if (weights.distillation > 0) {
      loss.distillation(pass.role == Role::smallest ? step.teaching.mean : step.teaching.largest,
                        weights.student_temperature, ramp * weights.distillation);
    }
  }
  if (pass.learns_from >= 0 && weights.joint > 0)
    loss.joint(softmax(step.logits[static_cast<std::size_t>(pass.learns_from)], weights.joint_temperature),
               weights.joint_temperature, weights.joint);
}

void require_finite(const PassLoss& loss, const Step& step, const PassPlan& pass) {
  for (const auto& [name, value] : loss.terms())
    if (!std::isfinite(value))
      throw NonFiniteLoss(
          "[train] step " + std::to_string(step.input.step + 1) + ": the " + name + " loss of " +
          id(pass.subnet) +
          " is not finite; lower optimizer.learning_rate or set optimizer.clip_norm and resume from the "
          "last checkpoint");
}

void run_pass(Step& step, const PassPlan& pass, StepResult& result, std::map<std::string, int>& counts) {
  Tape tape(true);
  const Variable logits = step.student.forward(tape, pass.subnet, step.images.at(pass.subnet.resolution),
                                               step.parts, NormMode::train);
  PassLoss loss(logits.data, step.input.source_rows());
  add_losses(loss, step, pass);
  require_finite(loss, step, pass);
  for (const auto& [name, value] : loss.terms()) {
    result.terms[name] += value;
    ++counts[name];
  }
  result.loss += loss.total();
  if (pass.role == Role::largest)
    result.source_accuracy =
        percent_right(logits.data.leading(0, step.input.source_rows()), step.input.labels);
  step.logits.push_back(logits.data);
  tape.backward(logits, loss.gradient());
}

}  // namespace

StepResult run_step(Supernet& student, Supernet* teacher, Optimizer& optimizer, const Config& config,
                    const StepInput& input) {
  const int64_t source_rows = input.source_rows(), target_rows = input.target_rows();
  const bool adapts = target_rows > 0;
  if (adapts && !teacher) throw std::invalid_argument("[train] target images need a teacher");
  Step step{student, config, input, ImagePyramid(input.images), {{Domain::source, source_rows}}, {}, {}};
  if (adapts) {
    step.parts.push_back({Domain::target, source_rows + target_rows});
    ImagePyramid target(input.images.slice(0, source_rows, target_rows));
    step.teaching = ask_teacher(*teacher, config, input.passes, target);
  }
  StepResult result;
  std::map<std::string, int> counts;
  try {
    for (const PassPlan& pass : input.passes) run_pass(step, pass, result, counts);
  } catch (...) {
    optimizer.discard_gradients();
    throw;
  }
  for (auto& [name, sum] : result.terms) sum /= counts[name];
  const int passes = static_cast<int>(input.passes.size());
  result.gradient_norm = optimizer.step(input.learning_rate, passes);
  if (adapts) {
    const double decay = config.train.teacher_decay > 0 ? config.train.teacher_decay : std::pow(0.9, passes);
    update_teacher(*teacher, student, decay);
  }
  return result;
}

}  // namespace rtfq
