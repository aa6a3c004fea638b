#include "models/quantizer.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "models/bank.h"

namespace rtfq {

Quantizer::Quantizer(const std::string& name, std::span<const int> bits, QuantizerOptions options)
    : name_(name), options_(options) {
  std::vector<int> sorted(bits.begin(), bits.end());
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

Parameter& Quantizer::step(int bits) const {
  for (const auto& [b, parameter] : steps_)
    if (b == bits) return *parameter;
  throw std::invalid_argument("[quantizer] " + name_ + " has no step size for " + std::to_string(bits) +
                              " bits: the bank was made without them");
}

kernels::QuantBounds Quantizer::bounds(int bits) const {
  return kernels::quant_bounds(bits, options_.is_signed, options_.symmetric);
}

bool Quantizer::initialized(int bits) const {
  return step(bits).value.as<float>()[0] > 0;
}

Variable Quantizer::apply(Tape& tape, const Variable& x, int bits, const Tensor& full) {
  if (bits == float_bits) return x;
  Parameter& parameter = step(bits);
  if (!initialized(bits)) {
    if (!tape.recording())
      throw std::logic_error("[quantizer] " + name_ + " has no " + std::to_string(bits) +
                             "-bit step size yet: no training step has used it");
    const auto values = ops::initial_step(full, options_.rows, bounds(bits), options_.weight, tape.stream());
    parameter.value.copy_from(Tensor::from(values, parameter.value.dims(), parameter.value.device()),
                              tape.stream());
  }
  Variable s = options_.bound > 0 ? Tape::constant(parameter.value) : tape.leaf(parameter);
  int64_t sharing = x.data.count();
  if (options_.rows > 1) {
    s.data = s.data.leading(0, x.data.dim(0));
    if (s.sink.defined()) s.sink = s.sink.leading(0, x.data.dim(0));
    sharing /= x.data.dim(0);
  } else if (!options_.weight) {
    sharing /= x.data.dim(0);  // the features of one image
  }
  const auto range = bounds(bits);
  const double grad_scale = 1.0 / std::sqrt(static_cast<double>(sharing) * range.qp);
  return ops::fakequant(tape, x, s, range, static_cast<float>(grad_scale));
}

}  // namespace rtfq
