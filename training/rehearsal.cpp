#include "training/rehearsal.h"

#include <chrono>

#include "engine/random.h"
#include "training/network.h"

namespace rtfq {
namespace {

template <class Work>
double seconds_of(Stream stream, const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  kernels::runtime::synchronize(stream);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

Rehearsal::Rehearsal(const Config& config, int64_t classes)
    : config_(config),
      classes_(classes),
      device_(device_of(config)),
      before_(memory::statistics(device_).in_use) {
  const SupernetOptions options = supernet_options(config, classes);
  student_ = std::make_unique<Supernet>(options, config.train.seed);
  student_->move_to(device_);
  optimizer_ = std::make_unique<Optimizer>(*student_, config.optimizer);
  if (config.train.method == "source_only") return;
  teacher_ = std::make_unique<Supernet>(options, config.train.seed);
  teacher_->drop_gradients();
  teacher_->move_to(device_);
  prepare_steps();
}

/// The teacher must have step sizes before it is asked, which come from a pass of the student at each
/// bit-width.
void Rehearsal::prepare_steps() {
  StepInput input;
  input.images = noise(2, config_.model.bank.resolutions.front());
  input.labels = {0, 1};
  const Subnet teaching = teaching_subnet(config_);
  if (trains_single(config_))
    input.passes = single_pass(teaching);
  else
    for (const int bits : config_.model.bank.bits)
      input.passes.push_back(
          {{teaching.width, teaching.depth, teaching.resolution, bits}, Role::largest, -1});
  run_step(*student_, nullptr, *optimizer_, config_, input);
  teacher_->copy_parameters(*student_);
}

Tensor Rehearsal::noise(int64_t images, int resolution) const {
  Random random(config_.train.seed, Purpose::test);
  Tensor out = Tensor::empty({images, resolution, resolution, config_.data.channels});
  for (int64_t i = 0; i < out.count(); ++i) out.as<float>()[i] = random.uniform(-1, 1);
  return out.to(device_);
}

double Rehearsal::step(const std::string& phase, const std::vector<PassPlan>& passes, int batch) {
  const bool adapts = phase == "adapt";
  StepInput input;
  input.images = noise(adapts ? 2 * batch : batch, config_.model.bank.resolutions.front());
  for (int i = 0; i < batch; ++i) input.labels.push_back(static_cast<int32_t>(i % classes_));
  input.passes = passes;
  input.shares = &shares_;
  if (adapts && config_.train.teacher_view == "plain")
    input.plain_target = noise(batch, config_.model.bank.resolutions.front());
  return seconds_of(compute_stream(device_),
                    [&] { run_step(*student_, teacher_.get(), *optimizer_, config_, input); });
}

double Rehearsal::calibration_pass(const Subnet& subnet, int batch) {
  const Tensor largest = noise(batch, config_.model.bank.resolutions.front());
  return seconds_of(compute_stream(device_), [&] {
    Tape tape(false, student_->stream());
    const Tensor images = ops::resize(student_->stream(), largest, subnet.resolution, subnet.resolution);
    const BatchPart part{Domain::source, batch};
    student_->forward(tape, subnet, images, std::span(&part, 1), NormMode::calibrate);
  });
}

}  // namespace rtfq
