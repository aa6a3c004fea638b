#pragma once
// SGD with Nesterov momentum and the teacher's moving average, over many tensors in one launch.

#include "kernels/operator.h"

namespace rtfq::kernels {

/// One parameter tensor of a launch; all arrays have `count` dense f32 elements.
struct SgdTensor {
  float* value;
  float* momentum;
  float* gradient;
  int64_t count;
  float learning_rate;
  float weight_decay;
  /// Step sizes: value *= exp(clamp(-learning_rate * direction / value, -step_limit, step_limit)), then at least 2^-60.
  /// To first order the plain update, but it cannot cross zero. Not positive: value -= learning_rate * direction.
  bool positive;
};

struct OptimizerShape {
  int64_t total;  ///< elements of all tensors, for the declared cost
};

/// g = gradient*gradient_scale + weight_decay*value; m = momentum*m + g; direction = nesterov ? g + momentum*m : m.
/// The gradient is zeroed for the next step.
struct SgdArgs {
  std::span<const SgdTensor> tensors;
  float momentum;
  float gradient_scale;
  float step_limit;
  bool nesterov;
  const float* scale = nullptr;  ///< [1], where it is given in gradient_scale's place (ClipScale)
};

struct AverageTensor {
  float* average;
  const float* value;
  int64_t count;
};

/// average = decay*average + (1-decay)*value.
struct MovingAverageArgs {
  std::span<const AverageTensor> tensors;
  float decay;
};

/// out[0] = sum of squares of all gradients (double partial sums, fixed order), for clipping.
struct SquaredNormArgs {
  std::span<const SgdTensor> tensors;
  double* out;
  void* workspace = nullptr;
};

/// out[0] = f32(scale * min(1, limit / (sqrt(squares[0]) * scale))), in f64: the gradient scale that bounds the norm of
/// the scaled gradient. limit 0: no bound.
struct ClipScaleArgs {
  const double* squares;  ///< SquaredNorm's
  double scale, limit;
  float* out;
};

RTFQ_CUDA_OPERATOR(Sgd, "optimizer.sgd", OptimizerShape, SgdArgs);
RTFQ_CUDA_OPERATOR(MovingAverage, "optimizer.moving_average", OptimizerShape, MovingAverageArgs);
RTFQ_CUDA_OPERATOR(SquaredNorm, "optimizer.squared_norm", OptimizerShape, SquaredNormArgs);
RTFQ_CUDA_OPERATOR(ClipScale, "optimizer.clip_scale", OptimizerShape, ClipScaleArgs);

Cost cost(const Sgd&, const OptimizerShape&);
Cost cost(const MovingAverage&, const OptimizerShape&);
Cost cost(const SquaredNorm&, const OptimizerShape&);
Cost cost(const ClipScale&, const OptimizerShape&);

}  // namespace rtfq::kernels
