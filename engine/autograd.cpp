#include "engine/autograd.h"

#include <algorithm>
#include <stdexcept>

#include "engine/cancellation.h"
#include "kernels/elementwise.h"

namespace rtfq {

Parameter::Parameter(std::string name_, ParameterKind kind_, Tensor value_)
    : name(std::move(name_)), kind(kind_), value(std::move(value_)) {
  const memory::HeldBy by("gradients");
  gradient = Tensor::zeros(value.dims(), DType::f32, value.device());
}

bool Parameter::started() const {
  if (value.device().backend == Backend::cpu) return value.as<float>()[0] > 0;
  if (!started_) {
    started_ = value.reshaped({value.count()}).leading(0, 1).to_vector()[0] > 0;
  }
  return *started_;
}

void Parameter::move_to(Device device) {
  if (kind == ParameterKind::step) started_ = started();
  const auto move = [device](Tensor& tensor, const char* held_by) {
    const memory::HeldBy by(held_by);
    tensor = tensor.to(device);
  };
  move(value, "parameters");
  move(gradient, "gradients");
  move(momentum, "momentum");
}

// Whoever reads a leaf is recorded after it.
void Tape::note_read(Parameter& parameter, int64_t rows) const {
  if (!watch_) return;
  const auto [at, first] = read_at_.try_emplace(&parameter, reads_.size());
  if (first)
    reads_.push_back({&parameter, rows, nodes_.size()});
  else
    reads_[at->second].rows = std::max(reads_[at->second].rows, rows);
}

Variable Tape::leaf(Parameter& parameter) const {
  if (!recording_) return constant(parameter.value);
  note_read(parameter, parameter.gradient.dim(0));
  on_host([&parameter] { parameter.touched = true; });
  return {parameter.value, -1, parameter.gradient};
}

Variable Tape::leaf(Parameter& weight, int64_t k, int64_t c) const {
  const int inner = weight.value.rank() - 1;
  const auto corner = [&](const Tensor& t) { return t.leading(0, k).leading(inner, c); };
  if (!recording_) return constant(corner(weight.value));
  note_read(weight, k);
  on_host([&weight] { weight.touched = true; });
  return {corner(weight.value), -1, corner(weight.gradient)};
}

Variable Tape::record(Tensor data, bool inputs_need_gradient, Backward backward) {
  check_cancelled();
  if (!recording_ || !inputs_need_gradient) return constant(std::move(data));
  nodes_.push_back({std::move(backward), {}, {}});
  return {std::move(data), static_cast<int>(nodes_.size()) - 1, {}};
}

std::pair<Variable, Variable> Tape::record(Tensor first, Tensor second, bool inputs_need_gradient,
                                           PairBackward backward) {
  check_cancelled();
  if (!recording_ || !inputs_need_gradient) return {constant(std::move(first)), constant(std::move(second))};
  const int node = static_cast<int>(nodes_.size());
  nodes_.push_back({{}, std::move(backward), {}});
  nodes_.push_back({});
  return {{std::move(first), node, {}}, {std::move(second), node + 1, {}}};
}

void Tape::accumulate(const Gradient& of, Tensor gradient) {
  if (of.node < 0) throw std::logic_error("[autograd] accumulate: the variable has no node on the tape");
  if (gradient.dims() != of.dims)
    throw std::logic_error("[autograd] gradient " + to_string(gradient.dims()) + " for a value of " +
                           to_string(of.dims));
  Tensor& sum = nodes_[static_cast<std::size_t>(of.node)].gradient;
  if (!sum.defined()) {
    sum = std::move(gradient);
    return;
  }
  using kernels::Add;
  if (gradient.dtype() != sum.dtype())
    throw std::logic_error(std::string("[autograd] gradients of one value in ") + to_string(sum.dtype()) +
                           " and " + to_string(gradient.dtype()));
  const auto shape = kernels::make_elementwise_shape(sum.count(), static_cast<rtfq_dtype>(sum.dtype()));
  // A gradient that two nodes share (an addition hands the same one to both inputs) must not change under the
  // other.
  Tensor out = sum.unique()        ? sum
               : gradient.unique() ? gradient
                                   : Tensor::empty(sum.dims(), sum.dtype(), sum.device());
  kernels::choose<Add>(sum.device().backend, shape)
      .launch(shape, {sum.data(), gradient.data(), out.data()}, stream_);
  sum = std::move(out);
}

void Tape::backward(const Variable& output, Tensor gradient) {
  if (!recording_) throw std::logic_error("[autograd] backward on a tape that does not record");
  accumulate(output, std::move(gradient));
  if (watch_) watch_->begins(reads_);
  Tensor second;  // of the pair whose first node comes next
  while (!nodes_.empty()) {
    check_cancelled();
    Node node = std::move(nodes_.back());
    // The node stays in place while it runs, because accumulate() indexes earlier ones; it goes right after.
    if (node.pair) {
      if (node.gradient.defined() || second.defined())
        node.pair(*this, node.gradient, std::exchange(second, {}));
    } else if (!node.backward) {
      second = std::move(node.gradient);
    } else if (node.gradient.defined()) {
      node.backward(*this, node.gradient);
    }
    nodes_.pop_back();
    if (watch_) watch_->has_run(nodes_.size());
  }
}

}  // namespace rtfq
