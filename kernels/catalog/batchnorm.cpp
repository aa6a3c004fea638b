// Batch normalization: exact data with counts, deviations and scales that are powers of two; then normal
// data, also far from zero, constant, and with a first image unlike the others. Channel counts are on both
// sides of every way in which kernels join or split rows.
#include "kernels/batchnorm.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/catalog/batchnorm_reference.h"
#include "kernels/catalog/problem_instance.h"
#include "kernels/catalog/typed.h"

namespace rtfq::kernels::catalog {
namespace {

using reference::Values;

enum class Data {
  exact,
  random,
  far,        // mean 1000, deviation 0.1
  constant,   // every channel a number of its own
  outlier,    // one image at 500, the others around 0
  not_finite  // exact, with a NaN in channel 0 and an infinity in channel 1
};

struct Case {
  std::string name;
  int64_t hw, c;
  std::vector<int64_t> ends;
  Data data = Data::exact;
  bool large = false;
  rtfq_dtype type = RTFQ_F32;
};

constexpr float exact_epsilon = 0x1p-6f;

BatchNormShape shape_of(const Case& c) {
  auto shape = make_batchnorm_shape(c.hw, c.c, c.ends, c.data == Data::random ? 1e-5f : exact_epsilon);
  shape.type = c.type;
  return shape;
}

std::size_t size_of(const BatchNormShape& s) {
  return static_cast<std::size_t>(s.n * s.hw * s.c);
}

Values doubles(const float* x, std::size_t n) {
  return {x, x + n};
}
Values doubles(const std::vector<float>& x) {
  return {x.begin(), x.end()};
}

bool exact(const Case& c) {
  return c.data == Data::exact || c.data == Data::not_finite;
}

/// Values of the case's type.
std::vector<float> draw(const Case& c, std::size_t n, uint64_t seed) {
  std::vector<float> x(n);
  const std::size_t drawn = std::min<std::size_t>(n, (1 << 18) - 37);  // in no step with rows
  if (exact(c))
    fill_exact(x.data(), drawn, seed);
  else
    fill_normal(x.data(), drawn, seed, c.data == Data::far ? 1000.0f : 0.1f,
                c.data == Data::far ? 0.1f : 1.3f);
  for (std::size_t i = drawn; i < n; ++i) x[i] = x[i - drawn];
  const auto channels = static_cast<std::size_t>(c.c), image = static_cast<std::size_t>(c.hw) * channels;
  for (std::size_t i = 0; i < n; ++i) {
    if (c.data == Data::constant) x[i] = 0.1f * static_cast<float>(i % channels + 1);
    if (c.data == Data::outlier && i < image) x[i] = 500.0f + x[i];
  }
  if (c.data == Data::not_finite) {
    x[channels] = std::numeric_limits<float>::quiet_NaN();
    x[channels + 1] = std::numeric_limits<float>::infinity();
  }
  for (float& value : x) value = static_cast<float>(stored(c.type, static_cast<double>(value)));
  return x;
}

/// Gradients: finite, of the order of 1.
std::vector<float> draw_gradient(Case c, std::size_t n, uint64_t seed) {
  c.data = exact(c) ? Data::exact : Data::random;
  return draw(c, n, seed);
}

/// A bf16 result is within half an ulp, 2^-9, of what f32 would hold; exact ones are rounded the same.
double rounding(const Case& c, double f32) {
  return exact(c) ? 0 : c.type == RTFQ_BF16 ? 0x1p-8 : f32;
}
Values all_stored(const Case& c, Values values) {
  if (exact(c))
    for (double& value : values) value = stored(c.type, value);
  return values;
}

/// What normalization needs besides x, all [segments][c]. Exact: deviations 1, 2 and 4, scales that are
/// powers of two.
struct Channels {
  float *mean, *variance, *scale, *shift;

  template <class Op>
  Channels(Problem<Op>& problem, const Case& c, const BatchNormShape& s) {
    const auto n = static_cast<std::size_t>(s.segments * s.c);
    for (float** array : {&mean, &variance, &scale, &shift}) *array = problem.template add<float>(n);
    if (exact(c)) {
      fill_exact(mean, n, 31, 3);
      fill_exact(shift, n, 32, 5);
      for (std::size_t i = 0; i < n; ++i) {
        variance[i] = std::ldexp(1.0f, static_cast<int>(2 * (i % 3))) - s.epsilon;
        scale[i] = std::ldexp(i % 2 ? 1.0f : -1.0f, static_cast<int>(i % 4) - 2);
      }
    } else {
      fill_normal(mean, n, 33, 0.1f, 0.2f);
      fill_normal(variance, n, 34);
      fill_normal(scale, n, 35, 1.0f, 0.3f);
      fill_normal(shift, n, 36);
      for (std::size_t i = 0; i < n; ++i) variance[i] = variance[i] * variance[i] + 0.2f;
    }
    size = n;
  }
  reference::BatchNormMoments moments() const { return {doubles(mean, size), doubles(variance, size)}; }
  std::size_t size = 0;
};

std::unique_ptr<Problem<BatchNormStatistics>> statistics(const Case& c) {
  auto problem = std::make_unique<Problem<BatchNormStatistics>>();
  const auto s = problem->shape = shape_of(c);
  auto x = draw(c, size_of(s), 21);
  if (c.data == Data::not_finite)
    x[static_cast<std::size_t>(s.c + 1)] = 1;  // an infinity gives a mean that is one or NaN
  auto [mean, variance] = reference::batchnorm_statistics(s, doubles(x));
  // Exact sums are rounded once, to f32. Beside a far outlier all sums round at its scale.
  if (exact(c))
    for (double& value : variance) value = static_cast<double>(static_cast<float>(value));
  const double tolerance = exact(c) ? 0 : 2e-6;
  const double half_ulp = exact(c) ? 0 : c.data == Data::outlier ? 4e-7 : 1.2e-7;
  // bf16 has few values: equal ones round the same about the shift, and the errors add up.
  const double shift_error = exact(c) ? 0 : c.type == RTFQ_BF16 ? 4e-7 : 2e-7;
  const auto n = static_cast<std::size_t>(s.segments * s.c);
  problem->args = {add_operand(problem.get(), c.type, x), problem->add<float>(n), nullptr, nullptr};
  problem->expected.push_back({"mean", problem->last(), RTFQ_F32, mean, shift_error, half_ulp});
  problem->args.variance = problem->add<float>(n);
  problem->expected.push_back(
      {"variance", problem->last(), RTFQ_F32, variance, exact(c) ? 0 : 1e-9, tolerance});
  problem->workspace = &problem->args.workspace;
  return problem;
}

std::unique_ptr<Problem<BatchNormNormalize>> normalize(const Case& c, bool relu, bool in_place) {
  auto problem = std::make_unique<Problem<BatchNormNormalize>>();
  const auto s = problem->shape = shape_of(c);
  const std::size_t n = size_of(s);
  const auto x = draw(c, n, 22);
  void* const x_memory = add_operand(problem.get(), c.type, x);
  const std::size_t x_buffer = problem->last();
  const Channels channels(*problem, c, s);
  Values y = reference::batchnorm_normalize(s, doubles(x), channels.moments(),
                                            doubles(channels.scale, channels.size),
                                            doubles(channels.shift, channels.size));
  if (relu)
    for (double& value : y) value = value < 0 ? 0 : value;
  auto& a = problem->args;
  a.x = x_memory;
  a.mean = channels.mean;
  a.variance = channels.variance;
  for (int i = 0; i < s.segments; ++i) {
    a.scale[i] = channels.scale + i * s.c;
    a.shift[i] = channels.shift + i * s.c;
  }
  a.y = in_place ? x_memory : add_typed(problem.get(), c.type, n);
  a.relu = relu;
  problem->expected.push_back({"y", in_place ? x_buffer : problem->last(), c.type,
                               all_stored(c, std::move(y)), exact(c) ? 0 : 1e-6, rounding(c, 5e-7)});
  if (in_place) restore_buffer(problem.get(), x_buffer);
  return problem;
}

std::unique_ptr<Problem<BatchNormReduce>> reduce(const Case& c) {
  auto problem = std::make_unique<Problem<BatchNormReduce>>();
  const auto s = problem->shape = shape_of(c);
  const std::size_t n = size_of(s);
  const auto x = draw(c, n, 23), g = draw_gradient(c, n, 24);
  const Channels channels(*problem, c, s);
  auto [sum_g, sum_gx] = reference::batchnorm_reduce(s, doubles(x), doubles(g), channels.moments());
  // Random terms are of the order of 1 (times 1/deviation, at most 2.3): an error of an ulp each, at random,
  // and a half for the result.
  const double terms = static_cast<double>(s.n * s.hw), absolute = exact(c) ? 0 : 1e-6 * std::sqrt(terms);
  auto& a = problem->args;
  a = {add_operand(problem.get(), c.type, x),
       add_operand(problem.get(), c.type, g),
       channels.mean,
       channels.variance,
       problem->add<float>(channels.size),
       nullptr,
       nullptr};
  problem->expected.push_back(
      {"sum_g", problem->last(), RTFQ_F32, std::move(sum_g), absolute, exact(c) ? 0 : 2e-7});
  a.sum_gx = problem->add<float>(channels.size);
  problem->expected.push_back(
      {"sum_gx", problem->last(), RTFQ_F32, std::move(sum_gx), absolute, exact(c) ? 0 : 5e-7});
  problem->workspace = &a.workspace;
  return problem;
}

std::unique_ptr<Problem<BatchNormApply>> apply(const Case& c, bool in_place) {
  auto problem = std::make_unique<Problem<BatchNormApply>>();
  const auto s = problem->shape = shape_of(c);
  const std::size_t n = size_of(s);
  const auto x = draw(c, n, 25), g = draw_gradient(c, n, 26);
  const void* const x_memory = add_operand(problem.get(), c.type, x);
  void* const g_memory = add_operand(problem.get(), c.type, g);
  const std::size_t g_buffer = problem->last();
  const Channels channels(*problem, c, s);
  float* sum_g = problem->add<float>(channels.size);
  float* sum_gx = problem->add<float>(channels.size);
  auto& a = problem->args;
  Values counts;
  for (int i = 0; i < s.segments; ++i) {
    // As if another rank had as many values; exact: a power of two.
    a.counts[i] = exact(c) ? std::ldexp(256.0f, i % 3) : 2 * static_cast<float>(count(s, i));
    counts.push_back(static_cast<double>(a.counts[i]));
    a.scale[i] = channels.scale + i * s.c;
  }
  // Exact: the mean gradients are multiples of an eighth.
  const float size = exact(c) ? 32.0f : 0.3f * a.counts[0];
  exact(c) ? fill_exact(sum_g, channels.size, 27, 4, size) : fill_normal(sum_g, channels.size, 27, 0, size);
  exact(c) ? fill_exact(sum_gx, channels.size, 28, 4, size) : fill_normal(sum_gx, channels.size, 28, 0, size);
  Values dx = reference::batchnorm_apply(s, doubles(x), doubles(g), channels.moments(),
                                         {doubles(sum_g, channels.size), doubles(sum_gx, channels.size)},
                                         doubles(channels.scale, channels.size), counts);
  a.x = x_memory;
  a.g = g_memory;
  a.mean = channels.mean;
  a.variance = channels.variance;
  a.sum_g = sum_g;
  a.sum_gx = sum_gx;
  a.dx = in_place ? g_memory : add_typed(problem.get(), c.type, n);
  // Three terms of the order of 1 to 10 cancel, times scale/deviation of at most 4.
  problem->expected.push_back({"dx", in_place ? g_buffer : problem->last(), c.type,
                               all_stored(c, std::move(dx)), exact(c) ? 0 : 5e-6, rounding(c, 5e-7)});
  if (in_place) restore_buffer(problem.get(), g_buffer);
  return problem;
}

std::vector<Case> small_cases() {
  std::vector<Case> cases;
  // Exact: powers of two of values in each segment.
  for (const int64_t c : {1, 3, 8, 12, 30, 64, 65, 100, 128, 255, 256, 257, 520, 1030, 2048})
    cases.push_back({"16x8x" + std::to_string(c), 16, c, {8}});
  cases.push_back({"segments_8_16_x16x24", 16, 24, {8, 16}});
  cases.push_back({"segments_8_12_14_16_x4x40", 4, 40, {8, 24, 32, 48}});
  cases.push_back({"eight_segments_x64x6", 64, 6, {1, 2, 4, 5, 6, 8, 9, 10}});
  cases.push_back({"blocks_of_64x1024x30", 1024, 30, {16, 32}});
  cases.push_back({"blocks_of_64x256x64", 256, 64, {16, 48}});
  cases.push_back({"one_value_1x1x40", 1, 40, {1}});
  // Random: any count.
  cases.push_back({"random_7x9x20", 9, 20, {7}, Data::random});
  cases.push_back({"random_5x49x513_segments", 49, 513, {2, 5}, Data::random});
  cases.push_back({"random_19x100x17_segments", 100, 17, {1, 8, 19}, Data::random});
  cases.push_back({"random_13x225x96", 225, 96, {13}, Data::random});
  // The same cuts whatever the type: some of each kind in bf16.
  const std::size_t f32_cases = cases.size();
  for (std::size_t i = 0; i < f32_cases; ++i)
    if (i % 2 == 1 || i > 15) {
      cases.push_back(cases[i]);
      cases.back().name += "_bf16";
      cases.back().type = RTFQ_BF16;
    }
  return cases;
}

std::vector<Case> statistics_cases() {
  std::vector<Case> cases;
  for (const int64_t c : {5, 64, 300}) {
    const std::string tail = "_6x81x" + std::to_string(c);
    cases.push_back({"far" + tail, 81, c, {6}, Data::far});
    cases.push_back({"constant" + tail, 81, c, {6}, Data::constant});
    cases.push_back({"outlier" + tail, 81, c, {6}, Data::outlier});
    cases.push_back({"constant_bf16" + tail, 81, c, {6}, Data::constant, false, RTFQ_BF16});
    cases.push_back({"outlier_of_64" + tail, 81, c, {64}, Data::outlier});
    cases.push_back({"not_finite" + tail, 64, c, {8}, Data::not_finite});
  }
  return cases;
}

std::vector<Case> large_cases() {
  return {{"64x56x56x64", 56 * 56, 64, {32, 64}, Data::random, true},
          {"64x28x28x512", 28 * 28, 512, {32, 64}, Data::random, true},
          {"64x7x7x2048", 49, 2048, {32, 64}, Data::random, true},
          {"64x56x56x64_bf16", 56 * 56, 64, {32, 64}, Data::random, true, RTFQ_BF16},
          {"64x7x7x2048_bf16", 49, 2048, {32, 64}, Data::random, true, RTFQ_BF16}};
}

}  // namespace

std::vector<Entry> batchnorm_entries() {
  std::vector<Entry> list;
  const auto add_statistics = [&](const Case& c) {
    list.push_back(entry<BatchNormStatistics>(
        c.name, [=] { return statistics(c); }, c.large));
  };
  const auto add_normalize = [&](const Case& c, const char* suffix, bool relu, bool in_place) {
    list.push_back(entry<BatchNormNormalize>(
        c.name + suffix, [=] { return normalize(c, relu, in_place); }, c.large));
  };
  const auto add_reduce = [&](const Case& c) {
    list.push_back(entry<BatchNormReduce>(
        c.name, [=] { return reduce(c); }, c.large));
  };
  const auto add_apply = [&](const Case& c, const char* suffix, bool in_place) {
    list.push_back(entry<BatchNormApply>(
        c.name + suffix, [=] { return apply(c, in_place); }, c.large));
  };
  for (const Case& c : small_cases()) {
    add_statistics(c);
    add_normalize(c, "", false, false);
    add_normalize(c, "_relu", true, false);
    add_normalize(c, "_in_place", false, true);
    add_normalize(c, "_relu_in_place", true, true);
    add_reduce(c);
    add_apply(c, "", false);
    add_apply(c, "_in_place", true);
  }
  for (const Case& c : statistics_cases()) add_statistics(c);
  // A NaN passes the ReLU.
  add_normalize({"not_finite_8x64x20", 64, 20, {8}, Data::not_finite}, "_relu", true, false);
  add_normalize({"not_finite_8x64x3", 64, 3, {8}, Data::not_finite}, "_relu", true, false);
  // Beyond the size from which results are stored past the caches.
  const Case streamed{"streamed_4x4100x256", 4100, 256, {1, 4}, Data::random};
  add_normalize(streamed, "", false, false);
  add_normalize(streamed, "_relu", true, false);
  add_apply(streamed, "", false);
  Case narrow{"streamed_4x8200x256_bf16", 8200, 256, {1, 4}, Data::random};
  narrow.type = RTFQ_BF16;
  add_normalize(narrow, "", false, false);
  for (const Case& c : large_cases()) {
    add_statistics(c);
    add_normalize(c, "_relu", true, false);
    add_reduce(c);
    add_apply(c, "", false);
  }
  return list;
}

}  // namespace rtfq::kernels::catalog
