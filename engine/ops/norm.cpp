#include <stdexcept>

#include "engine/ops/launch.h"
#include "engine/ops/ops.h"
#include "engine/reducer.h"
#include "kernels/batchnorm.h"

namespace rtfq::ops {
namespace {

using kernels::BatchNormShape;
using kernels::count;

BatchNormShape shape_of(const Tensor& x, std::span<const NormSegment> segments, float epsilon) {
  if (x.rank() != 4)
    throw std::invalid_argument("[batchnorm] expected x [n,h,w,c], got " + to_string(x.dims()));
  std::vector<int64_t> ends;
  for (const NormSegment& segment : segments) {
    ends.push_back(segment.end);
    if (segment.scale.data.count() != x.dim(3) || segment.shift.data.count() != x.dim(3))
      throw std::invalid_argument("[batchnorm] scale and shift have " +
                                  std::to_string(segment.scale.data.count()) + " channels, the input has " +
                                  std::to_string(x.dim(3)));
  }
  if (ends.empty() || ends.back() != x.dim(0))
    throw std::invalid_argument("[batchnorm] segments must end at the batch size " +
                                std::to_string(x.dim(0)));
  return kernels::make_batchnorm_shape(x.dim(1) * x.dim(2), x.dim(3), ends, epsilon);
}

/// Joins mean and variance over ranks: means weighted by counts, variances around the joint mean (Chan et al.
/// 1979).
void join_statistics(const BatchNormShape& shape, NormStatistics& s) {
  for (int i = 0; i < shape.segments; ++i) s.counts.push_back(static_cast<double>(count(shape, i)));
  if (reducer().ranks() == 1) return;
  const std::size_t c = static_cast<std::size_t>(shape.c), segments = s.counts.size();
  float* mean = s.mean.as<float>();
  float* variance = s.variance.as<float>();
  std::vector<double> sums(segments * c + segments);
  for (std::size_t i = 0; i < segments; ++i) {
    for (std::size_t j = 0; j < c; ++j) sums[i * c + j] = s.counts[i] * mean[i * c + j];
    sums[segments * c + i] = s.counts[i];
  }
  reducer().sum(std::span<double>(sums));
  std::vector<double> squares(segments * c);
  for (std::size_t i = 0; i < segments; ++i)
    for (std::size_t j = 0; j < c; ++j) {
      const double joint = sums[i * c + j] / sums[segments * c + i], shift = mean[i * c + j] - joint;
      squares[i * c + j] = s.counts[i] * (variance[i * c + j] + shift * shift);
      mean[i * c + j] = static_cast<float>(joint);
    }
  reducer().sum(std::span<double>(squares));
  for (std::size_t i = 0; i < segments; ++i) {
    s.counts[i] = sums[segments * c + i];
    for (std::size_t j = 0; j < c; ++j)
      variance[i * c + j] = static_cast<float>(squares[i * c + j] / s.counts[i]);
  }
}

void normalize_into(Stream stream, const BatchNormShape& shape, const Tensor& x,
                    std::span<const NormSegment> segments, const Tensor& mean, const Tensor& variance,
                    const Tensor& y) {
  kernels::BatchNormNormalizeArgs args{};
  args.x = x.data();
  args.mean = mean.as<float>();
  args.variance = variance.as<float>();
  for (std::size_t i = 0; i < segments.size(); ++i) {
    args.scale[i] = segments[i].scale.data.as<float>();
    args.shift[i] = segments[i].shift.data.as<float>();
  }
  args.y = y.data();
  launch<kernels::BatchNormNormalize>(stream, shape, args);
}

struct Saved {
  BatchNormShape shape;
  Variable x;
  std::vector<NormSegment> segments;
  NormStatistics statistics;
};

void accumulate_host(const Tensor& into, const float* values) {
  float* sum = into.as<float>();
  for (int64_t i = 0; i < into.count(); ++i) sum[i] += values[i];
}

void backward(Tape& tape, const Tensor& g, const Saved& saved) {
  const auto& [shape, x, segments, statistics] = saved;
  const Tensor sum_g = Tensor::empty(statistics.mean.dims()), sum_gx = Tensor::empty(statistics.mean.dims());
  launch<kernels::BatchNormReduce>(
      tape.stream(), shape,
      {x.data.data(), g.data(), statistics.mean.as<float>(), statistics.variance.as<float>(),
       sum_g.as<float>(), sum_gx.as<float>(), nullptr});
  // Gradients of shift and scale are this rank's; the reducer joins them with all other gradients later.
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const int64_t offset = static_cast<int64_t>(i) * shape.c;
    if (segments[i].shift.sink.defined()) accumulate_host(segments[i].shift.sink, sum_g.as<float>() + offset);
    if (segments[i].scale.sink.defined())
      accumulate_host(segments[i].scale.sink, sum_gx.as<float>() + offset);
  }
  if (!x.needs_gradient()) return;
  const auto all = static_cast<std::size_t>(sum_g.count());
  reducer().sum(std::span<float>(sum_g.as<float>(), all));
  reducer().sum(std::span<float>(sum_gx.as<float>(), all));
  kernels::BatchNormApplyArgs args{};
  args.x = x.data.data();
  args.g = g.data();
  args.mean = statistics.mean.as<float>();
  args.variance = statistics.variance.as<float>();
  args.sum_g = sum_g.as<float>();
  args.sum_gx = sum_gx.as<float>();
  for (std::size_t i = 0; i < segments.size(); ++i) {
    args.scale[i] = segments[i].scale.data.as<float>();
    args.counts[i] = static_cast<float>(statistics.counts[i]);
  }
  Tensor dx = g.unique() ? g : Tensor::empty(x.data.dims(), DType::f32, g.device());
  args.dx = dx.data();
  launch<kernels::BatchNormApply>(tape.stream(), shape, args);
  tape.accumulate(x, std::move(dx));
}

}  // namespace

Variable batch_norm(Tape& tape, const Variable& x, std::span<const NormSegment> segments, float epsilon,
                    NormStatistics* result) {
  const BatchNormShape shape = shape_of(x.data, segments, epsilon);
  NormStatistics statistics{
      Tensor::empty({shape.segments, shape.c}), Tensor::empty({shape.segments, shape.c}), {}};
  launch<kernels::BatchNormStatistics>(
      tape.stream(), shape,
      {x.data.data(), statistics.mean.as<float>(), statistics.variance.as<float>(), nullptr});
  join_statistics(shape, statistics);
  Tensor y = Tensor::empty(x.data.dims(), DType::f32, x.data.device());
  normalize_into(tape.stream(), shape, x.data, segments, statistics.mean, statistics.variance, y);
  if (result) *result = statistics;

  bool needed = x.needs_gradient();
  for (const NormSegment& s : segments)
    needed = needed || s.scale.needs_gradient() || s.shift.needs_gradient();
  auto saved =
      std::make_shared<Saved>(Saved{shape, x, {segments.begin(), segments.end()}, std::move(statistics)});
  return tape.record(y, needed, [saved](Tape& t, const Tensor& g) { backward(t, g, *saved); });
}

Tensor batch_norm_inference(Stream stream, const Tensor& x, std::span<const NormSegment> segments,
                            const Tensor& mean, const Tensor& variance, float epsilon) {
  const BatchNormShape shape = shape_of(x, segments, epsilon);
  Tensor y = Tensor::empty(x.dims(), DType::f32, x.device());
  normalize_into(stream, shape, x, segments, mean, variance, y);
  return y;
}

}  // namespace rtfq::ops
