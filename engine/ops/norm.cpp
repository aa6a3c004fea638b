#include <algorithm>
#include <set>
#include <stdexcept>

#include "engine/ops/launch.h"
#include "engine/ops/norm_parts.h"
#include "engine/reducer.h"
#include "kernels/moments.h"
#include "kernels/running.h"

namespace rtfq::ops {
namespace {

using kernels::BatchNormShape;
using kernels::count;

/// Counts of all ranks together, for norms on a device, whose figures the host does not see. It is told that
/// ranks have as many images each, once for every count.
std::vector<double> joint_counts(const std::vector<double>& own) {
  static std::set<std::pair<int, std::vector<double>>> agreed;
  const int ranks = reducer().ranks();
  std::vector<double> all(own);
  for (double& n : all) n *= ranks;
  if (!agreed.insert({ranks, own}).second) return all;
  std::vector<double> sums(own);
  for (const double n : own) sums.push_back(n * n);
  reducer().sum(std::span<double>(sums));
  for (std::size_t i = 0; i < own.size(); ++i)
    if (sums[i] * sums[i] != ranks * sums[own.size() + i])
      throw std::runtime_error("[batchnorm] on a device ranks expect as many images each: this one has " +
                               std::to_string(own[i]) + " values a channel, all " + std::to_string(ranks) +
                               " have " + std::to_string(sums[i]));
  return all;
}

/// Joins mean and variance over ranks, in one message.
void join_statistics(Stream stream, const BatchNormShape& shape, NormStatistics& s) {
  for (int i = 0; i < shape.segments; ++i) s.counts.push_back(static_cast<double>(count(shape, i)));
  if (reducer().ranks() == 1 || !norms_over_ranks()) return;
  const kernels::MomentsShape moments{shape.segments, shape.c};
  const auto all = static_cast<std::size_t>(2 * shape.segments * shape.c), segments = s.counts.size();
  const Device device = s.mean.device();
  const Tensor memory =
      Tensor::empty({static_cast<int64_t>((all + segments) * sizeof(double))}, DType::u8, device);
  auto* sums = static_cast<double*>(memory.data());
  kernels::BatchMomentsArgs own{s.mean.as<float>(), s.variance.as<float>(), {}, sums};
  std::copy(s.counts.begin(), s.counts.end(), own.counts);
  launch<kernels::BatchMoments>(stream, moments, own);
  if (device.backend == Backend::cpu) {
    std::copy(s.counts.begin(), s.counts.end(), sums + all);
    reducer().sum(std::span(sums, all + segments));
    std::copy_n(sums + all, segments, s.counts.begin());
  } else {
    s.counts = joint_counts(s.counts);
    reducer().on(device).sum(sums, all, stream);
  }
  kernels::JointStatisticsArgs joint{sums, {}, s.mean.as<float>(), s.variance.as<float>()};
  std::copy(s.counts.begin(), s.counts.end(), joint.counts);
  launch<kernels::JointStatistics>(stream, moments, joint);
}

void backward(Tape& tape, const Tensor& g, const BatchNormShape& shape, const NormInput& in) {
  const NormStatistics& statistics = in.statistics;
  const BackwardSums sums(statistics.mean, 2);
  const Tensor sum_g = sums[0], sum_gx = sums[1];
  launch<kernels::BatchNormReduce>(
      tape.stream(), shape,
      {in.x.data.data(), g.data(), statistics.mean.as<float>(), statistics.variance.as<float>(),
       sum_g.as<float>(), sum_gx.as<float>(), nullptr});
  accumulate_affine(tape.stream(), in.segments, sum_g, sum_gx);
  if (!in.x.needs_gradient()) return;
  sum_norms_over_ranks(sums.all());
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
                               float epsilon, const BatchStatistics& taken) {
  const BatchNormShape shape = norm_shape(x, segments, epsilon);
  const Dims dims{shape.segments, shape.c};
  NormStatistics statistics{taken.mean, taken.variance, {}};
  if (!taken.mean.defined()) {
    statistics.mean = Tensor::empty(dims, DType::f32, x.device());
    statistics.variance = Tensor::empty(dims, DType::f32, x.device());
    launch<kernels::BatchNormStatistics>(
        stream, shape, {x.data(), statistics.mean.as<float>(), statistics.variance.as<float>(), nullptr});
  } else if (taken.mean.dims() != dims ||
             !std::ranges::equal(taken.ends, std::span(shape.segment_end, segments.size()))) {
    throw std::invalid_argument("[batchnorm] statistics were taken of " + to_string(taken.mean.dims()) +
                                " segments and channels, the norm has " + to_string(dims) +
                                ", or ends its segments elsewhere");
  }
  join_statistics(stream, shape, statistics);
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
