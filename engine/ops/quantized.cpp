#include "engine/ops/quantized.h"

#include <stdexcept>

#include "engine/ops/launch.h"
#include "engine/ops/shapes.h"
#include "kernels/codes.h"
#include "kernels/linear.h"
#include "kernels/pool.h"

namespace rtfq::ops {
namespace {

/// [k]: the step of x times each row's.
Tensor scales(Stream stream, const Quantized& x, const QuantizedWeight& w) {
  const int64_t k = w.codes.data.dim(0);
  Tensor scale = Tensor::empty({k}, DType::f32, x.step.device());
  launch<kernels::ScaleProduct>(stream, {k, w.step.count() == 1},
                                {x.step.as<float>(), w.step.as<float>(), scale.as<float>()});
  return scale;
}

Variable convolve(Tape& tape, const Quantized& x, const QuantizedWeight& w, int64_t stride, DType type,
                  PackedWeights* cache, BatchStatistics* statistics) {
  const Tensor& codes = x.codes.data;
  const auto floats = conv2d_shape(codes, w.codes.data, stride);
  const auto shape = kernels::with_types(floats, kernel_type(codes.dtype()), RTFQ_S8, kernel_type(type));
  const Tensor scale = scales(tape.stream(), x, w);
  Tensor y = conv2d_forward(tape, shape, codes, w.codes.data, scale.as<float>(), cache, statistics);

  const bool needed = x.codes.needs_gradient() || w.codes.needs_gradient();
  return tape.record(y, needed, [x, w, floats](Tape& t, const Tensor& g) {
    const rtfq_dtype gradients = kernel_type(g.dtype());
    if (w.codes.needs_gradient()) {
      const auto of_codes =
          kernels::with_types(floats, kernel_type(x.codes.data.dtype()), RTFQ_F32, gradients);
      conv2d_wgrad(t, of_codes, x.codes.data, g, w.codes, x.step.as<float>());
    }
    if (x.codes.needs_gradient())
      conv2d_dgrad(t, kernels::with_types(floats, gradients, RTFQ_F32, gradients), g, w.dequantize(),
                   x.codes);
  });
}

}  // namespace

Quantized quantize(Tape& tape, const Variable& x, const LearnedStep& q) {
  const auto shape = fakequant_shape(x.data, 1, q.bounds);
  Tensor codes = Tensor::empty(x.data.dims(), q.bounds.qn ? DType::s8 : DType::u8, x.data.device());
  launch<kernels::FakeQuantForward>(tape.stream(), shape,
                                    {x.data.data(), q.step.data.as<float>(), nullptr, codes.data()});
  const Variable result = tape.record(
      codes, x.needs_gradient() || q.step.needs_gradient(),
      [x, q, shape](Tape& t, const Tensor& g) { fakequant_backward(t, g, x, q.step, shape, q.grad_scale); });
  return {result, q.step.data};
}

QuantizedWeight quantize_weight(Tape& tape, const Variable& w, const LearnedStep& q) {
  const auto shape = fakequant_shape(w.data, q.step.data.count(), q.bounds);
  Tensor codes = Tensor::empty(w.data.dims(), DType::s8, w.data.device());
  launch<kernels::FakeQuantForward>(tape.stream(), shape,
                                    {w.data.data(), q.step.data.as<float>(), nullptr, codes.data()});
  const Variable result = tape.record(
      codes, w.needs_gradient() || q.step.needs_gradient(),
      [w, q, shape](Tape& t, const Tensor& g) { fakequant_backward(t, g, w, q.step, shape, q.grad_scale); });
  return {result, q.step.data};
}

Variable conv2d(Tape& tape, const Quantized& x, const QuantizedWeight& w, int64_t stride, DType type,
                PackedWeights* cache) {
  return convolve(tape, x, w, stride, type, cache, nullptr);
}
Variable conv2d(Tape& tape, const Quantized& x, const QuantizedWeight& w, int64_t stride, DType type,
                BatchStatistics& statistics) {
  return convolve(tape, x, w, stride, type, nullptr, &statistics);
}

Variable linear(Tape& tape, const Quantized& x, const Tensor& values, const QuantizedWeight& w,
                const Variable& bias) {
  const Tensor& codes = x.codes.data;
  const auto floats = linear_shape(codes, w.codes.data, bias.data);
  const auto shape = kernels::with_types(floats, kernel_type(codes.dtype()), RTFQ_S8, RTFQ_F32);
  const Tensor scale = scales(tape.stream(), x, w);
  Tensor y = Tensor::empty({shape.n, shape.k}, DType::f32, codes.device());
  launch<kernels::LinearForward>(
      tape.stream(), shape,
      {codes.data(), w.codes.data.data(), bias.data.as<float>(), y.data(), nullptr, scale.as<float>()});
  const bool needed = x.codes.needs_gradient() || w.codes.needs_gradient() || bias.needs_gradient();
  return tape.record(y, needed, [to = Gradient(x.codes), values, w, bias, floats](Tape& t, const Tensor& g) {
    Variable weights = w.codes;
    weights.data = w.dequantize();
    linear_backward(t, floats, g, values, to, weights, bias);
  });
}

Variable average_pool(Tape& tape, const Quantized& x, DType gradient_type) {
  const Tensor& codes = x.codes.data;
  auto shape = kernels::make_pool_shape(codes.dim(0), codes.dim(1), codes.dim(2), codes.dim(3), 1, 1, 0);
  shape.type = kernel_type(codes.dtype());
  Tensor y = Tensor::empty({shape.n, shape.c}, DType::f32, codes.device());
  launch<kernels::AveragePoolForward>(tape.stream(), shape, {codes.data(), y.data(), x.step.as<float>()});
  shape.type = kernel_type(gradient_type);
  return tape.record(y, x.codes.needs_gradient(),
                     [of = Gradient(x.codes), shape, gradient_type](Tape& t, const Tensor& g) {
                       Tape quiet(false, t.stream());
                       const Tensor converted = convert(quiet, Tape::constant(g), gradient_type).data;
                       Tensor dx = Tensor::empty(of.dims, gradient_type, g.device());
                       launch<kernels::AveragePoolBackward>(t.stream(), shape, {converted.data(), dx.data()});
                       t.accumulate(of, std::move(dx));
                     });
}

}  // namespace rtfq::ops
