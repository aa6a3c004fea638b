#include <algorithm>
#include <stdexcept>

#include "engine/ops/launch.h"
#include "engine/ops/norm_parts.h"
#include "engine/reducer.h"
#include "kernels/running.h"

namespace rtfq::ops {
namespace {

using kernels::BatchNormShape;
using kernels::count;

/// Joins mean and variance over ranks: means weighted by counts, variances around the joint mean (Chan et al.
/// 1979).
void join_statistics(const BatchNormShape& shape, NormStatistics& s) {
  for (int i = 0; i < shape.segments; ++i) s.counts.push_back(static_cast<double>(count(shape, i)));
  if (reducer().ranks() == 1 || !norms_over_ranks()) return;
  const std::size_t c = static_cast<std::size_t>(shape.c), segments = s.counts.size();
  const Tensor host_mean = s.mean.to({}), host_variance = s.variance.to({});
  float* mean = host_mean.as<float>();
  float* variance = host_variance.as<float>();
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
  if (s.mean.shares_storage(host_mean)) return;
  s.mean.copy_from(host_mean);
  s.variance.copy_from(host_variance);
}

void backward(Tape& tape, const Tensor& g, const BatchNormShape& shape, const NormInput& in) {
  const NormStatistics& statistics = in.statistics;
  const Tensor sum_g = Tensor::empty(statistics.mean.dims(), DType::f32, g.device());
  const Tensor sum_gx = Tensor::empty(statistics.mean.dims(), DType::f32, g.device());
  launch<kernels::BatchNormReduce>(
      tape.stream(), shape,
      {in.x.data.data(), g.data(), statistics.mean.as<float>(), statistics.variance.as<float>(),
       sum_g.as<float>(), sum_gx.as<float>(), nullptr});
  accumulate_affine(tape.stream(), in.segments, sum_g, sum_gx);
  if (!in.x.needs_gradient()) return;
  sum_norms_over_ranks(sum_g);
  sum_norms_over_ranks(sum_gx);
  kernels::BatchNormApplyArgs args{};
  args.x = in.x.data.data();
  args.g = g.data();
  args.mean = statistics.mean.as<float>();
  args.variance = statistics.variance.as<float>();
  args.sum_g = sum_g.as<float>();
  args.sum_gx = sum_gx.as<float>();
  for (std::size_t i = 0; i < in.segments.size(); ++i) {
    args.scale[i] = in.segments[i].scale.data.as<float>();
    args.counts[i] = static_cast<float>(statistics.counts[i]);
  }
  Tensor dx = g.unique() ? g : Tensor::empty(in.x.data.dims(), g.dtype(), g.device());
  args.dx = dx.data();
  launch<kernels::BatchNormApply>(tape.stream(), shape, args);
  tape.accumulate(in.x, std::move(dx));
}

}  // namespace

BatchNormShape norm_shape(const Tensor& x, std::span<const NormSegment> segments, float epsilon) {
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
  BatchNormShape shape = kernels::make_batchnorm_shape(x.dim(1) * x.dim(2), x.dim(3), ends, epsilon);
  shape.type = kernel_type(x.dtype());
  return shape;
}

bool any_needs_gradient(const NormInput& in) {
  return in.x.needs_gradient() ||
         std::any_of(in.segments.begin(), in.segments.end(), [](const NormSegment& s) {
           return s.scale.needs_gradient() || s.shift.needs_gradient();
         });
}

// These are this rank's; the reducer joins them with all other gradients later.
void accumulate_affine(Stream stream, std::span<const NormSegment> segments, const Tensor& sum_g,
                       const Tensor& sum_gx, std::span<const NormSegment> other, const Tensor& other_sum_gx) {
  std::vector<kernels::AccumulateTensor> tensors;
  kernels::AccumulateShape shape{};
  const auto add = [&](const Tensor& into, const Tensor& sums, std::size_t segment) {
    if (!into.defined()) return;
    tensors.push_back(
        {into.as<float>(), sums.as<float>() + static_cast<int64_t>(segment) * sums.dim(1), into.count()});
    shape.total += into.count();
  };
  const auto add_all = [&](std::span<const NormSegment> of, const Tensor& gx) {
    for (std::size_t i = 0; i < of.size(); ++i) {
      add(of[i].shift.sink, sum_g, i);
      add(of[i].scale.sink, gx, i);
    }
  };
  add_all(segments, sum_gx);
  add_all(other, other_sum_gx);
  if (!tensors.empty()) launch<kernels::Accumulate>(stream, shape, {tensors});
}

NormStatistics norm_statistics(Stream stream, const Tensor& x, std::span<const NormSegment> segments,
                               float epsilon) {
  const BatchNormShape shape = norm_shape(x, segments, epsilon);
  const Dims dims{shape.segments, shape.c};
  NormStatistics statistics{
      Tensor::empty(dims, DType::f32, x.device()), Tensor::empty(dims, DType::f32, x.device()), {}};
  launch<kernels::BatchNormStatistics>(
      stream, shape, {x.data(), statistics.mean.as<float>(), statistics.variance.as<float>(), nullptr});
  join_statistics(shape, statistics);
  return statistics;
}

Variable batch_norm(Tape& tape, const NormInput& in) {
  const Tensor& x = in.x.data;
  const BatchNormShape shape = norm_shape(x, in.segments, in.epsilon);
  Tensor y = Tensor::empty(x.dims(), x.dtype(), x.device());
  kernels::BatchNormNormalizeArgs args{};
  args.x = x.data();
  args.mean = in.statistics.mean.as<float>();
  args.variance = in.statistics.variance.as<float>();
  for (std::size_t i = 0; i < in.segments.size(); ++i) {
    args.scale[i] = in.segments[i].scale.data.as<float>();
    args.shift[i] = in.segments[i].shift.data.as<float>();
  }
  args.y = y.data();
  launch<kernels::BatchNormNormalize>(tape.stream(), shape, args);
  return tape.record(y, any_needs_gradient(in),
                     [in, shape](Tape& t, const Tensor& g) { backward(t, g, shape, in); });
}

Variable batch_norm(Tape& tape, const Variable& x, std::span<const NormSegment> segments, float epsilon,
                    NormStatistics* result) {
  const NormInput in{x,
                     {segments.begin(), segments.end()},
                     norm_statistics(tape.stream(), x.data, segments, epsilon),
                     epsilon};
  if (result) *result = in.statistics;
  return batch_norm(tape, in);
}

}  // namespace rtfq::ops
