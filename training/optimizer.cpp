#include "training/optimizer.h"

#include <cmath>

#include "engine/ops/launch.h"
#include "engine/reducer.h"
#include "kernels/optimizer.h"

namespace rtfq {
namespace {

/// Step sizes change by at most a quarter of their value a step: exp(0.25) = 1.28.
constexpr float step_limit = 0.25f;

kernels::OptimizerShape shape_of(int64_t total) {
  return {total};
}

}  // namespace

Optimizer::Optimizer(Supernet& student, const OptimizerConfig& config) : student_(student), config_(config) {
  for (Parameter* p : student_.parameters()) {
    p->momentum = Tensor::zeros(p->value.dims(), DType::f32, p->value.device());
    const bool classifier = p->name == "classifier.weight" || p->name == "classifier.bias";
    p->rate = classifier ? config.classifier_rate : p->kind == ParameterKind::step ? config.step_rate : 1.0;
  }
}

double Optimizer::step(double learning_rate, int passes, Stream stream) {
  std::vector<kernels::SgdTensor> tensors, clipped;
  int64_t total = 0;
  for (Parameter* p : student_.parameters()) {
    if (!p->touched) continue;
    p->touched = false;
    reducer().sum(std::span<float>(p->gradient.as<float>(), static_cast<std::size_t>(p->gradient.count())));
    const bool decays =
        p->kind == ParameterKind::weight ||
        (config_.decay_norms && (p->kind == ParameterKind::norm || p->kind == ParameterKind::bias));
    const bool positive = p->kind == ParameterKind::step;
    const kernels::SgdTensor tensor{p->value.as<float>(),
                                    p->momentum.as<float>(),
                                    p->gradient.as<float>(),
                                    p->value.count(),
                                    static_cast<float>(learning_rate * p->rate),
                                    decays ? static_cast<float>(config_.weight_decay) : 0.0f,
                                    positive};
    tensors.push_back(tensor);
    if (!positive) clipped.push_back(tensor);
    total += tensor.count;
  }
  double scale = 1.0 / reducer().ranks();
  if (config_.average_passes) scale /= passes;
  double squares = 0;
  ops::launch<kernels::SquaredNorm>(stream, shape_of(total), {clipped, &squares});
  const double norm = std::sqrt(squares) * scale;
  if (config_.clip_norm > 0 && norm > config_.clip_norm) scale *= config_.clip_norm / norm;
  ops::launch<kernels::Sgd>(stream, shape_of(total),
                            {tensors, static_cast<float>(config_.momentum), static_cast<float>(scale),
                             step_limit, config_.nesterov});
  student_.weights_changed();
  return norm;
}

void Optimizer::discard_gradients() {
  for (Parameter* p : student_.parameters()) {
    if (p->touched)
      kernels::runtime::fill_zero(p->gradient.device(), p->gradient.data(), p->gradient.bytes(), {});
    p->touched = false;
  }
}

void update_teacher(Supernet& teacher, const Supernet& student, double decay, Stream stream) {
  std::vector<kernels::AverageTensor> tensors;
  int64_t total = 0;
  for (std::size_t i = 0; i < teacher.parameters().size(); ++i) {
    Parameter &mine = *teacher.parameters()[i], &theirs = *student.parameters()[i];
    if (mine.kind == ParameterKind::step && mine.value.as<float>()[0] == 0) {
      mine.value.copy_from(theirs.value, stream);
      continue;
    }
    tensors.push_back({mine.value.as<float>(), theirs.value.as<float>(), mine.value.count()});
    total += mine.value.count();
  }
  ops::launch<kernels::MovingAverage>(stream, shape_of(total), {tensors, static_cast<float>(decay)});
  teacher.weights_changed();
}

}  // namespace rtfq
