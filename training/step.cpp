#include "training/step.h"

#include <cmath>

#include "engine/reducer.h"
#include "training/network.h"
#include "training/phases.h"

namespace rtfq {
namespace {

/// [target rows, k].
Tensor teacher_logits(Supernet& teacher, const Subnet& subnet, ImagePyramid& target) {
  Tape tape(false);
  const Tensor& images = target.at(subnet.resolution);
  const BatchPart part{Domain::target, images.dim(0)};
  return teacher.forward(tape, subnet, images, std::span(&part, 1), NormMode::batch).data;
}

Tensor mean_of(const std::vector<Tensor>& probabilities) {
  Tensor mean = Tensor::zeros(probabilities.front().dims());
  float* sum = mean.as<float>();
  for (const Tensor& p : probabilities)
    for (int64_t i = 0; i < mean.count(); ++i)
      sum[i] += p.as<float>()[i] / static_cast<float>(probabilities.size());
  return mean;
}

/// The teacher's probabilities on the target images; undefined where no loss wants them.
struct Teaching {
  Tensor largest;  ///< at the teacher's temperature, for random subnets
  Tensor mean;     ///< the same, for the smallest
  Tensor labels;   ///< of the largest subnet at temperature 1, for pseudo-labels
};

/// All teacher forwards of a step come before its update; a subnet that several students learn from runs
/// once.
Teaching ask_teacher(Supernet& teacher, const Config& config, const std::vector<PassPlan>& passes,
                     ImagePyramid& target) {
  const TeacherQuestions asked = teacher_questions(config, passes);
  if (!asked.any()) return {};
  const double temperature = config.loss.teacher_temperature;
  const Subnet largest = teaching_subnet(config);
  const Tensor logits = teacher_logits(teacher, largest, target);
  Teaching teaching;
  teaching.largest = softmax(logits, temperature);
  if (asked.labels) teaching.labels = softmax(logits, 1);
  std::vector<Tensor> probabilities;
  for (const Subnet& subnet : asked.ensemble)
    probabilities.push_back(
        subnet == largest ? teaching.largest : softmax(teacher_logits(teacher, subnet, target), temperature));
  teaching.mean = probabilities.empty() ? teaching.largest : mean_of(probabilities);
  return teaching;
}

/// Decay of the teacher's class shares, and where they start: at equal shares.
constexpr double prior_decay = 0.99;

void follow(std::vector<float>& shares, const Tensor& probabilities) {
  const int64_t n = probabilities.dim(0), k = probabilities.dim(1);
  std::vector<float> mean(static_cast<std::size_t>(k));
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < k; ++j) mean[static_cast<std::size_t>(j)] += probabilities.as<float>()[i * k + j];
  reducer().sum(std::span<float>(mean));
  if (shares.empty()) shares.assign(mean.size(), 1.0f / static_cast<float>(k));
  const double rows = static_cast<double>(n) * reducer().ranks();
  for (std::size_t j = 0; j < mean.size(); ++j)
    shares[j] = static_cast<float>(prior_decay * shares[j] + (1 - prior_decay) * (mean[j] / rows));
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

void information_maximization(PassLoss& loss, const Step& step, const PassPlan& pass) {
  const LossConfig& weights = step.config.loss;
  ClassShares* shares = step.input.shares;
  const bool averages = shares && weights.information_average > 0;
  const bool prior = shares && weights.information_prior == "teacher";
  const auto mean = loss.information_maximization(
      step.input.ramp * weights.information,
      averages ? std::span<const float>(shares->student) : std::span<const float>(),
      weights.information_average,
      prior ? std::span<const float>(shares->teacher) : std::span<const float>());
  // The other passes of a step see the same images and use the average as it stands.
  if (averages && pass.role == Role::largest) shares->student = mean;
}

void add_losses(PassLoss& loss, const Step& step, const PassPlan& pass) {
  const LossConfig& weights = step.config.loss;
  loss.source(step.input.labels, weights.smoothing, weights.source);
  const bool single = step.config.train.method == "mcc";
  if (step.input.target_rows() > 0) {
    const double ramp = step.input.ramp;
    const double confusion = single && weights.confusion == 0 ? 1.0 : weights.confusion;
    if (confusion > 0) loss.class_confusion(weights.confusion_temperature, ramp * confusion);
    if (single) return;
    if (weights.information > 0) information_maximization(loss, step, pass);
    if (pass.role == Role::largest) {
      if (weights.pseudo_label > 0)
        loss.pseudo_labels(step.teaching.labels, weights.pseudo_threshold, ramp * weights.pseudo_label);
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

/// Sums of unweighted terms and how many there were.
struct Means {
  std::map<std::string, std::pair<double, int>> sums;
  void add(const std::map<std::string, double>& terms) {
    for (const auto& [name, value] : terms) sums[name].first += value, ++sums[name].second;
  }
  std::map<std::string, double> values() const {
    std::map<std::string, double> out;
    for (const auto& [name, sum] : sums) out[name] = sum.first / sum.second;
    return out;
  }
};

struct AllMeans {
  Means terms;
  std::map<std::string, Means> roles;
};

void run_pass(Step& step, const PassPlan& pass, StepResult& result, AllMeans& means) {
  Tape tape(true);
  const Variable logits = step.student.forward(tape, pass.subnet, step.images.at(pass.subnet.resolution),
                                               step.parts, NormMode::train);
  PassLoss loss(logits.data, step.input.source_rows());
  add_losses(loss, step, pass);
  require_finite(loss, step, pass);
  means.terms.add(loss.terms());
  means.roles[pass.learns_from >= 0 ? "paired" : to_string(pass.role)].add(loss.terms());
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
    ImagePyramid target(input.plain_target.defined() ? input.plain_target
                                                     : input.images.slice(0, source_rows, target_rows));
    step.teaching = ask_teacher(*teacher, config, input.passes, target);
    if (input.shares && config.loss.information_prior == "teacher" && step.teaching.largest.defined())
      follow(input.shares->teacher, step.teaching.largest);
  }
  StepResult result;
  AllMeans means;
  try {
    for (const PassPlan& pass : input.passes) run_pass(step, pass, result, means);
  } catch (...) {
    optimizer.discard_gradients();
    throw;
  }
  result.terms = means.terms.values();
  for (const auto& [role, mean] : means.roles) result.roles[role] = mean.values();
  const int passes = static_cast<int>(input.passes.size());
  const double decay = config.train.teacher_decay > 0 ? config.train.teacher_decay : std::pow(0.9, passes);
  const bool before = config.train.teacher_update == "before";
  if (adapts && before) update_teacher(*teacher, student, decay);
  result.gradient_norm = optimizer.step(input.learning_rate, passes);
  if (adapts && !before) update_teacher(*teacher, student, decay);
  return result;
}

}  // namespace rtfq
