#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "engine/ops/launch.h"
#include "engine/ops/shapes.h"
#include "engine/reducer.h"
#include "kernels/codes.h"

namespace rtfq {

using kernels::QuantBounds;

QTensor QTensor::quantize(const Tensor& x, const Tensor& step, int bits, bool is_signed, bool symmetric) {
  const QuantBounds bounds = kernels::quant_bounds(bits, is_signed, symmetric);
  QTensor q{Tensor::empty(x.dims(), is_signed ? DType::s8 : DType::u8, x.device()), step, bits, is_signed};
  const auto shape = ops::fakequant_shape(x, step.count(), bounds);
  ops::launch<kernels::FakeQuantForward>(compute_stream(x.device()), shape,
                                         {x.data(), step.as<float>(), nullptr, q.codes.data()});
  return q;
}

Tensor QTensor::dequantize() const {
  Tensor values = Tensor::empty(codes.dims(), DType::f32, codes.device());
  const auto shape = kernels::make_dequantize_shape(step.count(), codes.count() / step.count(),
                                                    ops::kernel_type(codes.dtype()));
  ops::launch<kernels::Dequantize>(compute_stream(codes.device()), shape,
                                   {codes.data(), step.as<float>(), values.as<float>()});
  return values;
}

namespace ops {

kernels::FakeQuantShape fakequant_shape(const Tensor& x, int64_t steps, QuantBounds bounds) {
  if (steps != 1 && steps != x.dim(0))
    throw std::invalid_argument("[fakequant] expected 1 step or one for each of " + std::to_string(x.dim(0)) +
                                " rows, got " + std::to_string(steps));
  kernels::FakeQuantShape shape;
  if (x.dense() && steps == 1)
    shape = kernels::make_fakequant_shape(x.count(), bounds);
  else if (x.rank() == 4)
    shape = kernels::make_fakequant_weight_shape(x.dim(0), x.dim(1) * x.dim(2), x.dim(3), x.stride(2), bounds,
                                                 steps > 1);
  else if (x.rank() == 2)
    shape = kernels::make_fakequant_weight_shape(x.dim(0), 1, x.dim(1), x.stride(0), bounds, steps > 1);
  else
    throw std::invalid_argument("[fakequant] expected a dense tensor or a weight [k,r,s,c] or [k,c], got " +
                                to_string(x.dims()));
  shape.type = kernel_type(x.dtype());
  return shape;
}

void fakequant_backward(Tape& tape, const Tensor& g, const Variable& x, const Variable& step,
                        const kernels::FakeQuantShape& shape, float grad_scale) {
  if (step.node >= 0) throw std::logic_error("[fakequant] the step must be a parameter or a constant");
  kernels::FakeQuantBackwardArgs args{};
  args.g = g.data();
  args.x = x.data.data();
  args.step = step.data.as<float>();
  args.ds = step.sink.defined() ? step.sink.as<float>() : nullptr;
  args.grad_scale = grad_scale;
  Tensor dx;
  if (x.sink.defined()) {
    args.dx = x.sink.data();
    args.accumulate_dx = true;
  } else if (x.node >= 0) {
    dx = Tensor::empty(x.data.dims(), x.data.dtype(), g.device());
    args.dx = dx.data();
  }
  launch<kernels::FakeQuantBackward>(tape.stream(), shape, args);
  if (dx.defined()) tape.accumulate(x, std::move(dx));
}

Variable fakequant(Tape& tape, const Variable& x, const Variable& step, QuantBounds bounds,
                   float grad_scale) {
  const auto shape = fakequant_shape(x.data, step.data.count(), bounds);
  Tensor y = Tensor::empty(x.data.dims(), x.data.dtype(), x.data.device());
  launch<kernels::FakeQuantForward>(tape.stream(), shape,
                                    {x.data.data(), step.data.as<float>(), y.data(), nullptr});
  return tape.record(y, x.needs_gradient() || step.needs_gradient(),
                     [x, step, shape, grad_scale](Tape& t, const Tensor& g) {
                       fakequant_backward(t, g, x, step, shape, grad_scale);
                     });
}

std::vector<float> initial_step(const Tensor& x, int64_t steps, QuantBounds bounds, bool weight,
                                Stream stream) {
  const auto shape = fakequant_shape(x, steps, bounds);
  Tensor sums = Tensor::empty({steps}, DType::f32, x.device());
  launch<kernels::AbsSum>(stream, shape, {x.data(), sums.as<float>(), nullptr});
  const std::vector<float> values = sums.to_vector();
  std::vector<double> totals(values.begin(), values.end());
  totals.push_back(static_cast<double>(x.count()) / static_cast<double>(steps));
  if (!weight) reducer().sum(std::span<double>(totals));
  std::vector<float> result;
  for (int64_t i = 0; i < steps; ++i) {
    const double mean = totals[static_cast<std::size_t>(i)] / totals.back();
    result.push_back(
        std::max(0x1p-60f, static_cast<float>(2 * mean / std::sqrt(static_cast<double>(bounds.qp)))));
  }
  return result;
}

}  // namespace ops
}  // namespace rtfq
