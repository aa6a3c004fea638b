#include "training/step.h"

#include <algorithm>
#include <cmath>

#include "engine/ops/launch.h"
#include "engine/reducer.h"
#include "kernels/answers.h"
#include "training/divergence.h"
#include "training/exchange.h"
#include "training/gradient_exchange.h"
#include "training/network.h"
#include "training/pass_graphs.h"
#include "training/phases.h"

namespace rtfq {
namespace {

/// [target rows, k].
Tensor teacher_logits(Supernet& teacher, const Subnet& subnet, ImagePyramid& target) {
  const Tensor& images = target.at(subnet.resolution);
  const memory::HeldBy by("the teacher's passes");
  Tape tape(false, teacher.stream());
  const BatchPart part{Domain::target, images.dim(0)};
  return teacher.forward(tape, subnet, images, std::span(&part, 1), NormMode::batch).data;
}

Tensor mean_of(const std::vector<Tensor>& probabilities) {
  const Tensor& like = probabilities.front();
  Tensor mean = Tensor::empty(like.dims(), DType::f32, like.device());
  std::vector<const float*> all;
  for (const Tensor& p : probabilities) all.push_back(p.as<float>());
  ops::launch<kernels::MeanOf>(compute_stream(like.device()), {like.count()}, {all, mean.as<float>()});
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
  teacher.drop_prepared_weights();  // the passes need the memory, the next step other weights
  return teaching;
}

/// Decay of the teacher's class shares, and where they start: at equal shares.
constexpr double prior_decay = 0.99;

void follow(Tensor& shares, const Tensor& probabilities) {
  const int64_t n = probabilities.dim(0), k = probabilities.dim(1);
  const Device device = probabilities.device();
  const Tensor sums = Tensor::empty({k}, DType::f32, device);
  ops::launch<kernels::ClassSums>(compute_stream(device), kernels::make_logits_shape(n, k),
                                  {probabilities.as<float>(), sums.as<float>()});
  sum_over_ranks(sums);
  if (!shares.defined()) {
    const std::vector<float> equal(static_cast<std::size_t>(k), 1.0f / static_cast<float>(k));
    shares = Tensor::from(equal, {k}, device);
  }
  const double rows = static_cast<double>(n) * reducer().ranks();
  ops::launch<kernels::Blend>(compute_stream(device), {k},
                              {shares.as<float>(), sums.as<float>(), prior_decay, rows, shares.as<float>()});
}

/// What the host reads of a step: the losses of every pass, and how many source images were right.
class Ledger {
 public:
  Ledger(std::size_t passes, Device device)
      : all_(Tensor::empty({static_cast<int64_t>(passes) * PassLoss::most_terms + 1}, DType::f32, device)) {}
  Tensor of_pass(std::size_t pass) const {
    return all_.slice(0, static_cast<int64_t>(pass) * PassLoss::most_terms, PassLoss::most_terms);
  }
  float* right() const { return all_.as<float>() + all_.count() - 1; }
  std::vector<float> read() const { return all_.to_vector(); }

 private:
  Tensor all_;
};

/// What the passes of one step share.
struct Step {
  Supernet& student;
  const Config& config;
  const StepInput& input;
  ImagePyramid images;
  std::vector<BatchPart> parts;
  Teaching teaching;
  Tensor labels;
  Ledger ledger;
  std::vector<Tensor> logits;    ///< of each pass so far
  std::vector<PassLoss> losses;  ///< the same
};

constexpr const char* advice =
    "; lower optimizer.learning_rate or set optimizer.clip_norm and resume from the last checkpoint, or let "
    "train.on_divergence=retreat do so";

/// All ranks stop where one has to: the others would wait for it.
void require_finite(const PassLoss& loss, Step& step, const PassPlan& pass) {
  const std::map<std::string, double> terms = loss.terms();
  const bool finite =
      std::all_of(terms.begin(), terms.end(), [](const auto& term) { return std::isfinite(term.second); });
  if (!anywhere(!finite)) return;
  if (finite)
    throw NonFiniteLoss("[train] step " + std::to_string(step.input.step + 1) + ": a loss of " +
                        id(pass.subnet) + " is not finite on another rank" + advice);
  const AloneScope alone;
  for (const auto& [name, value] : terms) {
    if (std::isfinite(value)) continue;
    const std::string where =
        first_not_finite(step.student, pass.subnet, step.images.at(pass.subnet.resolution), step.parts);
    throw NonFiniteLoss("[train] step " + std::to_string(step.input.step + 1) + ": the " + name +
                        " loss of " + id(pass.subnet) + " is not finite" +
                        (where.empty() ? "" : ": " + where) + advice);
  }
}

void require_bounded(double loss, const Step& step) {
  const double limit = step.config.train.max_loss;
  if (anywhere(limit > 0 && loss > limit))
    throw NonFiniteLoss("[train] step " + std::to_string(step.input.step + 1) + ": the loss, " +
                        std::to_string(loss) + ", is above train.max_loss = " + std::to_string(limit) +
                        advice);
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

/// The input of a pass of this step.
PassInput input_of(Step& step, const PassPlan& plan) {
  PassInput pass;
  pass.plan = plan;
  pass.parts = step.parts;
  pass.images = step.images.at(plan.subnet.resolution);
  pass.labels = step.labels;
  pass.teaching = plan.role == Role::smallest ? step.teaching.mean : step.teaching.largest;
  pass.pseudo_labels = step.teaching.labels;
  if (plan.learns_from >= 0) pass.higher = step.logits[static_cast<std::size_t>(plan.learns_from)];
  pass.ramp = step.input.ramp;
  if (step.input.shares) pass.shares = *step.input.shares;
  return pass;
}

/// `watch`: where the gradients of several ranks are summed.
void run_pass(Step& step, const PassPlan& plan, BackwardWatch* watch) {
  const PassInput pass = input_of(step, plan);
  const Tensor losses = step.ledger.of_pass(step.losses.size());
  float* right = step.ledger.right();
  PassResult result = step.input.graphs
                          ? step.input.graphs->run(pass, losses, right)
                          : rtfq::run_pass(step.student, step.config, pass, losses, right, nullptr, watch);
  if (step.input.shares && result.share.defined()) step.input.shares->student = std::move(result.share);
  step.logits.push_back(std::move(result.logits));
  step.losses.push_back(std::move(result.loss));
}

/// All passes; where there are several ranks, gradients are then sums over them.
void run_passes(Step& step, StepResult& result) {
  const std::vector<PassPlan>& passes = step.input.passes;
  if (reducer().ranks() == 1) {
    for (const PassPlan& pass : passes) run_pass(step, pass, nullptr);
    return;
  }
  // Of a convolution's weight a subnet has the leading rows.
  const int multiple = step.student.options().bank.multiple;
  const auto reach = [&](std::size_t pass, const Parameter& p) {
    const int64_t all = p.gradient.dim(0);
    const bool convolution = p.kind == ParameterKind::weight && p.gradient.rank() == 4;
    return convolution ? scaled_channels(all, passes[pass].subnet.width, multiple) : all;
  };
  GradientExchange exchange(step.student.parameters(), reducer(), step.config.train.overlap, passes.size(),
                            reach);
  for (const PassPlan& pass : passes) {
    run_pass(step, pass, &exchange);
    if (&pass != &passes.back()) exchange.pass_done();
  }
  exchange.finish();
  result.exchange_waited = exchange.waited();
  result.exchange_overlapped = exchange.overlapped();
}

/// Waits for the losses and sums them up.
void read_losses(Step& step, StepResult& result) {
  const std::vector<float> values = step.ledger.read();
  AllMeans means;
  for (std::size_t i = 0; i < step.losses.size(); ++i) {
    const PassPlan& pass = step.input.passes[i];
    PassLoss& loss = step.losses[i];
    constexpr auto each = static_cast<std::size_t>(PassLoss::most_terms);
    loss.read(std::span(values).subspan(i * each, each));
    require_finite(loss, step, pass);
    means.terms.add(loss.terms());
    means.roles[pass.learns_from >= 0 ? "paired" : to_string(pass.role)].add(loss.terms());
    result.loss += loss.total();
    if (pass.role == Role::largest)
      result.source_accuracy =
          100.0 * static_cast<double>(values.back()) / static_cast<double>(step.input.source_rows());
  }
  result.terms = means.terms.values();
  for (const auto& [role, mean] : means.roles) result.roles[role] = mean.values();
}

}  // namespace

StepResult run_step(Supernet& student, Supernet* teacher, Optimizer& optimizer, const Config& config,
                    const StepInput& input) {
  const int64_t source_rows = input.source_rows(), target_rows = input.target_rows();
  const bool adapts = target_rows > 0;
  const Device device = student.device();
  if (adapts && !teacher) throw std::invalid_argument("[train] target images need a teacher");
  require_labels(input.labels, source_rows, student.options().classes);
  const Tensor images = input.images.to(device);
  Step step{
      student,
      config,
      input,
      ImagePyramid(images, student.stream()),
      {{Domain::source, source_rows}},
      {},
      input.labels_there.defined() ? input.labels_there : Tensor::from(input.labels, {source_rows}, device),
      Ledger(input.passes.size(), device),
      {},
      {}};
  if (adapts) {
    step.parts.push_back({Domain::target, source_rows + target_rows});
    ImagePyramid target(input.plain_target.defined() ? input.plain_target.to(device)
                                                     : images.slice(0, source_rows, target_rows),
                        student.stream());
    step.teaching = ask_teacher(*teacher, config, input.passes, target);
    if (input.shares && config.loss.information_prior == "teacher" && step.teaching.largest.defined())
      follow(input.shares->teacher, step.teaching.largest);
  }
  StepResult result;
  const int passes = static_cast<int>(input.passes.size());
  try {
    run_passes(step, result);
    optimizer.gather(passes);
    read_losses(step, result);
    require_bounded(result.loss, step);
  } catch (...) {
    optimizer.discard_gradients();
    throw;
  }
  average(result);
  const double decay = config.train.teacher_decay > 0 ? config.train.teacher_decay : std::pow(0.9, passes);
  const bool before = config.train.teacher_update == "before";
  if (adapts && before) update_teacher(*teacher, student, decay);
  result.gradient_norm = optimizer.norm();
  optimizer.update(input.learning_rate);
  if (adapts && !before) update_teacher(*teacher, student, decay);
  return result;
}

}  // namespace rtfq
