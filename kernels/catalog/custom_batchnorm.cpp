// Batch normalization of any size, compared whole with the fp64 reference.
#include <cmath>

#include "kernels/batchnorm.h"
#include "kernels/catalog/batchnorm_reference.h"
#include "kernels/catalog/custom_parts.h"
#include "kernels/catalog/typed.h"

namespace rtfq::kernels::catalog::custom_parts {
namespace {

using reference::Values;

struct Sizes {
  BatchNormShape s;
  std::size_t elements, channels;  ///< channels: of all segments

  explicit Sizes(const CustomRequest& request) {
    Dims dims(request);
    const int64_t hw = dims.need("hw"), c = dims.need("c");
    const std::vector<int64_t> ends = segment_ends(request, dims);
    const int64_t n = ends.back(), segments = static_cast<int64_t>(ends.size());
    dims.finish();
    require_types(request);
    s = make_batchnorm_shape(hw, c, ends);
    s.type = request.type;
    elements = static_cast<std::size_t>(n * hw * c);
    channels = static_cast<std::size_t>(segments * c);
  }
};

Values doubles(const float* x, std::size_t n) {
  return {x, x + n};
}

/// An operand of the request's type, and the values that it holds.
struct Operand {
  const void* data;
  Values values;

  template <class Op>
  Operand(Problem<Op>& problem, const CustomRequest& request, std::size_t count, uint64_t seed, float mean,
          float deviation) {
    std::vector<float> drawn(count);
    fill(request, drawn.data(), count, seed, mean, deviation);
    data = add_operand(&problem, request.type, &drawn);
    if (request.reference) values.assign(drawn.begin(), drawn.end());
  }
};

/// A bf16 result is within half an ulp, 2^-9, of what f32 would hold.
double rounding(const CustomRequest& request, double f32) {
  return request.type == RTFQ_BF16 ? 0x1p-8 : f32;
}

/// Mean, variance, scale and shift of every channel; drawn whatever the request's data are.
struct Channels {
  float *mean, *variance, *scale, *shift;

  template <class Op>
  Channels(Problem<Op>& problem, const Sizes& z) : count(z.channels) {
    for (float** array : {&mean, &variance, &scale, &shift}) *array = problem.template add<float>(count);
    fill_normal(mean, count, 33, 0.1f, 0.2f);
    fill_normal(variance, count, 34);
    fill_normal(scale, count, 35, 1.0f, 0.3f);
    fill_normal(shift, count, 36);
    for (std::size_t i = 0; i < count; ++i) variance[i] = variance[i] * variance[i] + 0.2f;
  }
  reference::BatchNormMoments moments() const { return {doubles(mean, count), doubles(variance, count)}; }
  std::size_t count;
};

std::unique_ptr<Instance> statistics(const CustomRequest& request, const Sizes& z) {
  auto problem = std::make_unique<Problem<BatchNormStatistics>>();
  problem->shape = z.s;
  const Operand x(*problem, request, z.elements, 21, 0.1f, 1.3f);
  reference::BatchNormMoments moments;
  if (request.reference) moments = reference::batchnorm_statistics(z.s, x.values);
  auto& [mean, variance] = moments;
  problem->args = {x.data, problem->add<float>(z.channels), nullptr, nullptr};
  problem->expected.push_back({"mean", problem->last(), RTFQ_F32, std::move(mean), 2e-7, 1.2e-7});
  problem->args.variance = problem->add<float>(z.channels);
  problem->expected.push_back({"variance", problem->last(), RTFQ_F32, std::move(variance), 1e-9, 2e-6});
  problem->workspace = &problem->args.workspace;
  return instance_of(std::move(problem));
}

std::unique_ptr<Instance> normalize(const CustomRequest& request, const Sizes& z) {
  auto problem = std::make_unique<Problem<BatchNormNormalize>>();
  problem->shape = z.s;
  const Operand x(*problem, request, z.elements, 22, 0.1f, 1.3f);
  const Channels channels(*problem, z);
  auto& a = problem->args;
  a = {x.data, channels.mean, channels.variance, {}, {}, add_typed(problem.get(), request.type, z.elements),
       true};
  for (int i = 0; i < z.s.segments; ++i) {
    a.scale[i] = channels.scale + i * z.s.c;
    a.shift[i] = channels.shift + i * z.s.c;
  }
  Values y;
  if (request.reference)
    y = reference::batchnorm_normalize(z.s, x.values, channels.moments(), doubles(channels.scale, z.channels),
                                       doubles(channels.shift, z.channels));
  for (double& value : y) value = value < 0 ? 0 : value;
  problem->expected.push_back(
      {"y", problem->last(), request.type, std::move(y), 1e-6, rounding(request, 5e-7)});
  return instance_of(std::move(problem));
}

std::unique_ptr<Instance> reduce(const CustomRequest& request, const Sizes& z) {
  auto problem = std::make_unique<Problem<BatchNormReduce>>();
  problem->shape = z.s;
  const Operand x(*problem, request, z.elements, 23, 0.1f, 1.3f),
      g(*problem, request, z.elements, 24, 0.0f, 1.0f);
  const Channels channels(*problem, z);
  reference::BatchNormSums sums;
  if (request.reference) sums = reference::batchnorm_reduce(z.s, x.values, g.values, channels.moments());
  auto& [sum_g, sum_gx] = sums;
  const double absolute = 1e-6 * std::sqrt(static_cast<double>(z.s.n * z.s.hw));
  auto& a = problem->args;
  a = {x.data, g.data, channels.mean, channels.variance, problem->add<float>(z.channels), nullptr, nullptr};
  problem->expected.push_back({"sum_g", problem->last(), RTFQ_F32, std::move(sum_g), absolute, 2e-7});
  a.sum_gx = problem->add<float>(z.channels);
  problem->expected.push_back({"sum_gx", problem->last(), RTFQ_F32, std::move(sum_gx), absolute, 5e-7});
  problem->workspace = &a.workspace;
  return instance_of(std::move(problem));
}

std::unique_ptr<Instance> apply(const CustomRequest& request, const Sizes& z) {
  auto problem = std::make_unique<Problem<BatchNormApply>>();
  problem->shape = z.s;
  const Operand x(*problem, request, z.elements, 25, 0.1f, 1.3f),
      g(*problem, request, z.elements, 26, 0.0f, 1.0f);
  const Channels channels(*problem, z);
  float *sum_g = problem->add<float>(z.channels), *sum_gx = problem->add<float>(z.channels);
  auto& a = problem->args;
  a = {x.data,
       g.data,
       channels.mean,
       channels.variance,
       sum_g,
       sum_gx,
       {},
       {},
       add_typed(problem.get(), request.type, z.elements)};
  Values counts;
  for (int i = 0; i < z.s.segments; ++i) {
    a.counts[i] = static_cast<float>(count(z.s, i));
    counts.push_back(static_cast<double>(a.counts[i]));
    a.scale[i] = channels.scale + i * z.s.c;
  }
  fill_normal(sum_g, z.channels, 27, 0, 0.3f * a.counts[0]);
  fill_normal(sum_gx, z.channels, 28, 0, 0.3f * a.counts[0]);
  Values dx;
  if (request.reference)
    dx = reference::batchnorm_apply(z.s, x.values, g.values, channels.moments(),
                                    {doubles(sum_g, z.channels), doubles(sum_gx, z.channels)},
                                    doubles(channels.scale, z.channels), counts);
  problem->expected.push_back(
      {"dx", problem->last(), request.type, std::move(dx), 5e-6, rounding(request, 5e-7)});
  return instance_of(std::move(problem));
}

}  // namespace

std::unique_ptr<Instance> batchnorm(const CustomRequest& request) {
  const Sizes z(request);
  if (request.op == "batchnorm.statistics") return statistics(request, z);
  if (request.op == "batchnorm.normalize") return normalize(request, z);
  if (request.op == "batchnorm.reduce") return reduce(request, z);
  return apply(request, z);
}

}  // namespace rtfq::kernels::catalog::custom_parts
