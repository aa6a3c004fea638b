#include "training/optimizer.h"

#include <cmath>
#include <utility>

#include "engine/ops/launch.h"
#include "engine/reducer.h"
#include "kernels/optimizer.h"

namespace rtfq {
namespace {

/// Step sizes change by at most a quarter of their value a step: exp(0.25) = 1.28.
constexpr float step_limit = 0.25f;

}  // namespace

Optimizer::Optimizer(Supernet& student, const OptimizerConfig& config) : student_(student), config_(config) {
  const memory::HeldBy by("momentum");
  for (Parameter* p : student_.parameters()) {
    p->momentum = Tensor::zeros(p->value.dims(), DType::f32, p->value.device());
    const bool classifier = p->name == "classifier.weight" || p->name == "classifier.bias";
    p->rate = classifier ? config.classifier_rate : p->kind == ParameterKind::step ? config.step_rate : 1.0;
  }
}

double Optimizer::step(double learning_rate, int passes) {
  gather(passes);
  const double all = norm();
  update(learning_rate);
  return all;
}

void Optimizer::gather(int passes) {
  const Device device = student_.device();
  std::vector<kernels::SgdTensor> clipped;
  kernels::OptimizerShape shape{};
  touched_.clear();
  for (Parameter* p : student_.parameters()) {
    if (!p->touched) continue;
    touched_.push_back(p);
    shape.total += p->value.count();
    if (p->kind != ParameterKind::step)
      clipped.push_back({nullptr, nullptr, p->gradient.as<float>(), p->value.count(), 0, 0, false});
  }
  scale_ = 1.0 / reducer().ranks();
  if (config_.average_passes) scale_ /= passes;
  if (!squares_.defined() || squares_.device() != device) {
    squares_ = Tensor::empty({sizeof(double)}, DType::u8, device);
    clipped_scale_ = Tensor::empty({1}, DType::f32, device);
  }
  auto* squares = static_cast<double*>(squares_.data());
  const Stream stream = student_.stream();
  ops::launch<kernels::SquaredNorm>(stream, shape, {clipped, squares});
  ops::launch<kernels::ClipScale>(stream, shape,
                                  {squares, scale_, config_.clip_norm, clipped_scale_.as<float>()});
}

double Optimizer::norm() const {
  double squares = 0;
  kernels::runtime::copy(&squares, {}, squares_.data(), squares_.device(), sizeof squares, student_.stream());
  return std::sqrt(squares) * scale_;
}

void Optimizer::update(double learning_rate) {
  std::vector<kernels::SgdTensor> tensors;
  kernels::OptimizerShape shape{};
  for (Parameter* p : touched_) {
    p->touched = false;
    const bool decays =
        p->kind == ParameterKind::weight ||
        (config_.decay_norms && (p->kind == ParameterKind::norm || p->kind == ParameterKind::bias));
    tensors.push_back({p->value.as<float>(), p->momentum.as<float>(), p->gradient.as<float>(),
                       p->value.count(), static_cast<float>(learning_rate * p->rate),
                       decays ? static_cast<float>(config_.weight_decay) : 0.0f,
                       p->kind == ParameterKind::step});
    shape.total += p->value.count();
  }
  touched_.clear();
  ops::launch<kernels::Sgd>(student_.stream(), shape,
                            {tensors, static_cast<float>(config_.momentum), 1.0f, step_limit,
                             config_.nesterov, clipped_scale_.as<float>()});
  student_.weights_changed();
}

void Optimizer::discard_gradients() {
  for (Parameter* p : student_.parameters()) {
    if (p->touched) p->gradient.fill_zero();
    p->touched = false;
  }
  touched_.clear();
}

void update_teacher(Supernet& teacher, const Supernet& student, double decay) {
  std::vector<kernels::AverageTensor> tensors;
  kernels::OptimizerShape shape{};
  for (std::size_t i = 0; i < teacher.parameters().size(); ++i) {
    Parameter &mine = *teacher.parameters()[i], &theirs = *student.parameters()[i];
    if (mine.kind == ParameterKind::step && !mine.started()) {
      if (!theirs.started()) continue;
      mine.value.copy_from(theirs.value);
      mine.start();
      continue;
    }
    tensors.push_back({mine.value.as<float>(), theirs.value.as<float>(), mine.value.count()});
    shape.total += mine.value.count();
  }
  ops::launch<kernels::MovingAverage>(student.stream(), shape, {tensors, static_cast<float>(decay)});
  teacher.weights_changed();
}

}  // namespace rtfq
