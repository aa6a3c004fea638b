#include "training/pass.h"

#include "engine/ops/launch.h"
#include "kernels/answers.h"

namespace rtfq {
namespace {

void information_maximization(PassResult& result, const LossConfig& weights, const PassInput& pass) {
  const bool averages = weights.information_average > 0;
  Tensor mean = result.loss.information_maximization(
      pass.ramp * weights.information, averages ? pass.shares.student : Tensor(), weights.information_average,
      weights.information_prior == "teacher" ? pass.shares.teacher : Tensor());
  // The other passes of a step see the same images and use the average as it stands.
  if (averages && pass.plan.role == Role::largest) result.share = std::move(mean);
}

void add_losses(PassResult& result, const Config& config, const PassInput& pass) {
  const LossConfig& weights = config.loss;
  PassLoss& loss = result.loss;
  loss.source(pass.labels, weights.smoothing, weights.source);
  const bool single = config.train.method == "mcc";
  if (pass.target_rows() > 0) {
    const double confusion = single && weights.confusion == 0 ? 1.0 : weights.confusion;
    if (confusion > 0) loss.class_confusion(weights.confusion_temperature, pass.ramp * confusion);
    if (single) return;
    if (weights.information > 0) information_maximization(result, weights, pass);
    if (pass.plan.role == Role::largest) {
      if (weights.pseudo_label > 0)
        loss.pseudo_labels(pass.pseudo_labels, weights.pseudo_threshold, pass.ramp * weights.pseudo_label);
    } else if (weights.distillation > 0) {
      loss.distillation(pass.teaching, weights.student_temperature, pass.ramp * weights.distillation);
    }
  }
  if (pass.higher.defined() && weights.joint > 0)
    loss.joint(softmax(pass.higher, weights.joint_temperature), weights.joint_temperature, weights.joint);
}

}  // namespace

PassResult run_pass(Supernet& student, const Config& config, const PassInput& pass, const Tensor& losses,
                    float* right, Tape::HostChanges* changes, BackwardWatch* watch) {
  const memory::HeldBy by("passes");
  Tape tape(true, student.stream(), changes);
  tape.tell(watch);
  const Variable logits = student.forward(tape, pass.plan.subnet, pass.images, pass.parts, NormMode::train);
  PassResult result{logits.data, PassLoss(logits.data, pass.source_rows(), losses), {}};
  add_losses(result, config, pass);
  if (pass.plan.role == Role::largest)
    ops::launch<kernels::CountRight>(tape.stream(),
                                     kernels::make_logits_shape(pass.source_rows(), logits.data.dim(1)),
                                     {logits.data.as<float>(), pass.labels.as<int32_t>(), right});
  tape.backward(logits, result.loss.gradient());
  return result;
}

}  // namespace rtfq
