#pragma once
// A quantizer of one tensor: a learned step size for every bit-width it may be asked for.

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/ops/quantized.h"

namespace rtfq {

/// Where a step size starts, from the values it will first quantize.
enum class StepInit {
  lsq,  ///< 2 mean|x| / sqrt(qp) (Esser et al. 2020)
  max,  ///< the step with which no value is clamped: max|x| / qp
  mse   ///< the step of least squared error, of 100 between max|x|/qp and a hundredth of it
};
/// The factor on its gradient; N as in docs/method.md.
enum class StepGradient {
  lsq,    ///< 1/sqrt(N qp)
  count,  ///< 1/sqrt(N)
  none    ///< 1
};
/// "lsq", "max", "mse" and "lsq", "count", "none"; throw std::invalid_argument naming them.
StepInit parse_step_init(const std::string&);
StepGradient parse_step_gradient(const std::string&);

struct QuantizerOptions {
  bool weight = false;  ///< else an activation
  bool is_signed = false;
  bool symmetric = false;  ///< signed codes without the lowest one
  int64_t rows = 1;        ///< step sizes: 1, or the output channels of the full weight
  /// Greatest absolute value of a tensor whose range is known beforehand (the normalized image): its step is
  /// bound/qp and not learned, so that no gradient has to reach it. 0: learned.
  float bound = 0;
  int own_bits = 0;  ///< used whatever bits a quantized subnet asks for; 0: the subnet's
  StepInit init = StepInit::lsq;
  StepGradient gradient = StepGradient::lsq;
};

class Quantizer {
 public:
  /// Steps for each of `bits` (float_bits is skipped); they start uninitialised.
  Quantizer(const std::string& name, std::span<const int> bits, QuantizerOptions options);

  /// Fake-quantizes at `bits`; unchanged at float_bits. Uninitialised steps are set from `full` (weights: the
  /// parent; activations: x itself) when the tape records; otherwise throws std::logic_error naming the
  /// quantizer.
  Variable apply(Tape&, const Variable& x, int bits, const Tensor& full);
  /// The same in integers, for an activation and for a weight; not at float_bits.
  ops::Quantized quantize(Tape&, const Variable& x, int bits);
  ops::QuantizedWeight quantize_weight(Tape&, const Variable& w, int bits, const Tensor& full);
  /// The step for activations of these dims that another operation quantizes. `values` is called only where
  /// they are needed: for the first step size, and by an observer.
  ops::LearnedStep prepare(Tape&, const Dims&, int bits, const std::function<Tensor()>& values);

  /// `observer` is called with everything that apply() quantizes, before it does; an empty one ends that.
  using Observer = std::function<void(const Quantizer&, const Tensor& x, int bits)>;
  void observe(Observer observer) { observer_ = std::move(observer); }

  /// What `bits` of a subnet are here: own_bits where it has some, else the same.
  int used_bits(int bits) const;
  kernels::QuantBounds bounds(int bits) const;
  bool initialized(int bits) const;
  /// The step sizes at `bits`. Throws std::invalid_argument when the quantizer has none.
  Parameter& step(int bits) const;
  const QuantizerOptions& options() const { return options_; }
  const std::string& name() const { return name_; }
  /// Steps in ascending order of bits.
  const std::vector<std::pair<int, std::unique_ptr<Parameter>>>& steps() const { return steps_; }

 private:
  void initialize(Tape&, int bits, const Tensor& full);
  ops::LearnedStep learned(Tape&, const Dims&, int bits);
  void show(const Tensor& x, int bits) const;

  std::string name_;
  QuantizerOptions options_;
  Observer observer_;
  std::vector<std::pair<int, std::unique_ptr<Parameter>>> steps_;
};

}  // namespace rtfq
