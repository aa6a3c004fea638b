#include "models/quantizer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "engine/reducer.h"
#include "models/bank.h"

namespace rtfq {
namespace {

/// Values of `x` that a step size is fitted to: at most 2^14 of them, evenly spread.
std::vector<float> sample(const float* x, int64_t count, bool is_signed) {
  constexpr int64_t most = 1 << 14;
  const int64_t stride = std::max<int64_t>(1, count / most);
  std::vector<float> values;
  for (int64_t i = 0; i < count; i += stride) values.push_back(is_signed ? x[i] : std::max(0.0f, x[i]));
  return values;
}

float fitted_step(std::span<const float> x, kernels::QuantBounds bounds, StepInit init) {
  double largest = 0;
  for (const float v : x) largest = std::max(largest, static_cast<double>(std::abs(v)));
  const double top = largest / bounds.qp;
  if (init == StepInit::max || top == 0) return std::max(0x1p-60f, static_cast<float>(top));
  constexpr int candidates = 100;
  double best = top, least = std::numeric_limits<double>::infinity();
  for (int i = candidates; i >= 1; --i) {
    const double s = top * i / candidates;
    double error = 0;
    for (const float value : x) {
      const double v = static_cast<double>(value);
      const double code =
          std::clamp(std::nearbyint(v / s), -static_cast<double>(bounds.qn), static_cast<double>(bounds.qp));
      error += (v - code * s) * (v - code * s);
    }
    if (error < least) least = error, best = s;
  }
  return std::max(0x1p-60f, static_cast<float>(best));
}

Tensor as_f32(const Tensor& x) {
  Tape quiet(false, compute_stream(x.device()));
  return x.dtype() == DType::f32 ? x : ops::convert(quiet, Tape::constant(x), DType::f32).data;
}

/// The mean over ranks of the steps that fit each row of `x` (or all of it).
std::vector<float> fitted_steps(const Tensor& x, int64_t rows, kernels::QuantBounds bounds, bool weight,
                                StepInit init) {
  const std::vector<float> values = as_f32(x).to_vector();
  const int64_t inner = static_cast<int64_t>(values.size()) / rows;
  std::vector<float> steps;
  for (int64_t row = 0; row < rows; ++row)
    steps.push_back(fitted_step(sample(values.data() + row * inner, inner, bounds.qn > 0), bounds, init));
  if (weight) return steps;  // the same on every rank
  reducer().sum(std::span<float>(steps));
  for (float& s : steps) s /= static_cast<float>(reducer().ranks());
  return steps;
}

}  // namespace

StepInit parse_step_init(const std::string& text) {
  if (text == "lsq") return StepInit::lsq;
  if (text == "max") return StepInit::max;
  if (text == "mse") return StepInit::mse;
  throw std::invalid_argument("[model] step_init: expected lsq, max or mse, got '" + text + "'");
}

StepGradient parse_step_gradient(const std::string& text) {
  if (text == "lsq") return StepGradient::lsq;
  if (text == "count") return StepGradient::count;
  if (text == "none") return StepGradient::none;
  throw std::invalid_argument("[model] step_gradient: expected lsq, count or none, got '" + text + "'");
}

Quantizer::Quantizer(const std::string& name, std::span<const int> bits, QuantizerOptions options)
    : name_(name), options_(options) {
  std::vector<int> sorted;
  for (const int b : bits) sorted.push_back(used_bits(b));
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  for (int b : sorted) {
    if (b == float_bits) continue;
    const float start = options.bound > 0 ? options.bound / static_cast<float>(bounds(b).qp) : 0.0f;
    const std::vector<float> values(static_cast<std::size_t>(options.rows), start);
    steps_.emplace_back(b,
                        std::make_unique<Parameter>(name + ".step.b" + std::to_string(b), ParameterKind::step,
                                                    Tensor::from(values, {options.rows})));
  }
}

int Quantizer::used_bits(int bits) const {
  return bits == float_bits || options_.own_bits == 0 ? bits : options_.own_bits;
}

Parameter& Quantizer::step(int bits) const {
  for (const auto& [b, parameter] : steps_)
    if (b == used_bits(bits)) return *parameter;
  throw std::invalid_argument("[quantizer] " + name_ + " has no step size for " + std::to_string(bits) +
                              " bits: the bank was made without them");
}

kernels::QuantBounds Quantizer::bounds(int bits) const {
  return kernels::quant_bounds(used_bits(bits), options_.is_signed, options_.symmetric);
}

bool Quantizer::initialized(int bits) const {
  return step(bits).started();
}

void Quantizer::initialize(Tape& tape, int bits, const Tensor& full) {
  if (!tape.recording())
    throw std::logic_error("[quantizer] " + name_ + " has no " + std::to_string(bits) +
                           "-bit step size yet: no training step has used it");
  const auto values =
      options_.init == StepInit::lsq
          ? ops::initial_step(full, options_.rows, bounds(bits), options_.weight, tape.stream())
          : fitted_steps(full, options_.rows, bounds(bits), options_.weight, options_.init);
  Parameter& parameter = step(bits);
  parameter.value.copy_from(Tensor::from(values, parameter.value.dims(), parameter.value.device()));
  parameter.start();
}

ops::LearnedStep Quantizer::learned(Tape& tape, const Dims& dims, int bits) {
  Parameter& parameter = step(bits);
  Variable s = options_.bound > 0 ? Tape::constant(parameter.value) : tape.leaf(parameter);
  int64_t sharing = dims.product();
  if (options_.rows > 1) {
    s.data = s.data.leading(0, dims[0]);
    if (s.sink.defined()) s.sink = s.sink.leading(0, dims[0]);
    sharing /= dims[0];
  } else if (!options_.weight) {
    sharing /= dims[0];  // the features of one image
  }
  const auto range = bounds(bits);
  const double n = static_cast<double>(sharing);
  const double grad_scale = options_.gradient == StepGradient::none    ? 1.0
                            : options_.gradient == StepGradient::count ? 1.0 / std::sqrt(n)
                                                                       : 1.0 / std::sqrt(n * range.qp);
  return {s, range, static_cast<float>(grad_scale)};
}

void Quantizer::show(const Tensor& x, int bits) const {
  if (observer_) observer_(*this, as_f32(x), bits);
}

Variable Quantizer::apply(Tape& tape, const Variable& x, int bits, const Tensor& full) {
  if (bits == float_bits) return x;
  if (!initialized(bits)) initialize(tape, bits, full);
  show(x.data, bits);
  const ops::LearnedStep q = learned(tape, x.data.dims(), bits);
  return ops::fakequant(tape, x, q.step, q.bounds, q.grad_scale);
}

ops::Quantized Quantizer::quantize(Tape& tape, const Variable& x, int bits) {
  if (!initialized(bits)) initialize(tape, bits, x.data);
  show(x.data, bits);
  return ops::quantize(tape, x, learned(tape, x.data.dims(), bits));
}

ops::QuantizedWeight Quantizer::quantize_weight(Tape& tape, const Variable& w, int bits, const Tensor& full) {
  if (!initialized(bits)) initialize(tape, bits, full);
  show(w.data, bits);
  return ops::quantize_weight(tape, w, learned(tape, w.data.dims(), bits));
}

ops::LearnedStep Quantizer::prepare(Tape& tape, const Dims& dims, int bits,
                                    const std::function<Tensor()>& values) {
  if (!initialized(bits) || observer_) {
    const Tensor x = values();
    if (!initialized(bits)) initialize(tape, bits, x);
    show(x, bits);
  }
  return learned(tape, dims, bits);
}

}  // namespace rtfq
