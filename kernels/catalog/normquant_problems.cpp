#include "kernels/catalog/normquant_problems.h"

#include <algorithm>
#include <cmath>

#include "kernels/catalog/normquant_reference.h"
#include "kernels/catalog/operands.h"
#include "kernels/catalog/typed.h"

namespace rtfq::kernels::catalog::normquant {
namespace {

using reference::NormOperands;
using reference::NormQuantProblem;
using reference::Values;

NormQuantShape shape_of(const Case& c) {
  auto norm = make_batchnorm_shape(c.hw, c.c, c.ends, c.random ? 1e-5f : 0x1p-6f);
  norm.type = c.type;
  return make_normquant_shape(norm, c.residual, c.identity, c.qp, 255);
}

std::vector<float> draw(const Case& c, std::size_t n, uint64_t seed, int magnitude, float deviation = 1.3f) {
  std::vector<float> x(n);
  if (c.zeros) return x;
  const std::size_t drawn = std::min<std::size_t>(n, (1 << 18) - 37);  // in no step with rows
  c.random ? fill_normal(x.data(), drawn, seed, 0.1f, deviation)
           : fill_exact(x.data(), drawn, seed, magnitude);
  for (std::size_t i = drawn; i < n; ++i) x[i] = x[i - drawn];
  for (float& value : x) value = static_cast<float>(stored(c.type, static_cast<double>(value)));
  return x;
}

NormOperands draw_norm(const Case& c, const NormQuantShape& s, uint64_t seed) {
  const auto n = static_cast<std::size_t>(s.norm.n * s.norm.hw * s.norm.c),
             channels = static_cast<std::size_t>(s.norm.segments * s.norm.c);
  const auto x = [&] {
    if (!c.given) return draw(c, n, seed, 4);
    std::vector<float> values(n);
    for (std::size_t i = 0; i < n; ++i)
      values[i] = static_cast<float>(stored(c.type, static_cast<double>((*c.given)[i % c.given->size()])));
    return values;
  };
  NormOperands norm{x(), std::vector<float>(channels), std::vector<float>(channels),
                    std::vector<float>(channels), std::vector<float>(channels)};
  if (c.random) {
    fill_normal(norm.mean.data(), channels, seed + 1, 0.1f, 0.2f);
    fill_normal(norm.variance.data(), channels, seed + 2);
    fill_normal(norm.scale.data(), channels, seed + 3, 1.0f, 0.3f);
    fill_normal(norm.shift.data(), channels, seed + 4);
    for (float& v : norm.variance) v = v * v + 0.2f;
  } else {
    fill_exact(norm.mean.data(), channels, seed + 1, 3);
    fill_exact(norm.shift.data(), channels, seed + 4, 3);
    for (std::size_t i = 0; i < channels; ++i) {
      norm.variance[i] = std::ldexp(1.0f, static_cast<int>(2 * (i % 3))) - s.norm.epsilon;
      norm.scale[i] = std::ldexp(i % 5 ? 1.0f : -1.0f, static_cast<int>(i % 4) - 2);
    }
  }
  return norm;
}

NormQuantProblem draw_problem(const Case& c) {
  NormQuantProblem p{};
  p.shape = shape_of(c);
  p.main = draw_norm(c, p.shape, 41);
  const std::size_t n = p.main.x.size();
  if (c.residual == RTFQ_RESIDUAL_NORM) p.other = draw_norm(c, p.shape, 51);
  if (c.residual == RTFQ_RESIDUAL_VALUES) p.residual = draw(c, n, 61, 4);
  if (c.residual == RTFQ_RESIDUAL_CODES)
    for (const float value : draw(c, n, 62, 15))
      p.residual_codes.push_back(static_cast<uint8_t>(std::abs(value)));
  p.residual_step = c.random ? 0.31f : 0.25f;
  p.step = c.step > 0 ? c.step : c.random ? 0.173f : 0.25f;
  p.identity_step = c.random ? 0.0131f : 0x1p-6f;
  if (c.g_codes) p.g_codes = draw(c, n, 63, 3);
  if (c.g_identity && c.identity != RTFQ_IDENTITY_NONE) p.g_identity = draw(c, n, 64, 3);
  p.stores_g_z = c.stores_g_z;
  return p;
}

template <class Op>
NormQuantInput add_input(Problem<Op>& problem, const NormOperands& norm, const BatchNormShape& s) {
  const auto channels = [&](const std::vector<float>& values) {
    return static_cast<const float*>(add_operand(&problem, RTFQ_F32, values));
  };
  NormQuantInput in{};
  in.x = add_operand(&problem, s.type, norm.x);
  in.mean = channels(norm.mean);
  in.variance = channels(norm.variance);
  const float *scale = channels(norm.scale), *shift = channels(norm.shift);
  for (int i = 0; i < s.segments; ++i) in.scale[i] = scale + i * s.c, in.shift[i] = shift + i * s.c;
  return in;
}

template <class Op>
NormQuantOperands add_operands(Problem<Op>& problem, const NormQuantProblem& p) {
  NormQuantOperands in{};
  in.main = add_input(problem, p.main, p.shape.norm);
  if (p.shape.residual == RTFQ_RESIDUAL_NORM) in.other = add_input(problem, p.other, p.shape.norm);
  if (p.shape.residual == RTFQ_RESIDUAL_VALUES)
    in.residual = add_operand(&problem, p.shape.norm.type, p.residual);
  if (p.shape.residual == RTFQ_RESIDUAL_CODES) {
    auto* codes = problem.template add<uint8_t>(p.residual_codes.size());
    std::copy(p.residual_codes.begin(), p.residual_codes.end(), codes);
    in.residual = codes;
    float* step = problem.template add<float>(1);
    *step = p.residual_step;
    in.residual_step = step;
  }
  auto* steps = problem.template add<float>(2);
  steps[0] = p.step, steps[1] = p.identity_step;
  in.step = steps;
  if (p.shape.identity == RTFQ_IDENTITY_CODES) in.identity_step = steps + 1;
  return in;
}

/// z as the contract's f32 has it, and where another order of its roundings may lead: with data on which
/// nothing rounds, nowhere else.
struct Sums {
  std::vector<float> z;
  std::vector<reference::ExactSum> exact;

  Sums(const Case& c, const NormQuantProblem& p) {
    if (!c.reference) return;
    z = reference::normquant_sum(p);
    if (c.random) exact = reference::normquant_exact(p);
  }
  double reach() const {
    double greatest = 0;
    for (const auto& one : exact) greatest = std::max(greatest, one.reach);
    return greatest;
  }
};

/// The inputs of an element of an output that has one for each of x, for a message.
template <class Op>
void explain(Problem<Op>& problem, NormQuantProblem p, std::vector<float> z) {
  if (z.empty()) return;
  const auto kept =
      std::make_shared<const std::pair<NormQuantProblem, std::vector<float>>>(std::move(p), std::move(z));
  problem.inputs = [kept](const std::string& output, std::size_t i) -> std::string {
    const auto& [of, sums] = *kept;
    if (output.find("sum") != output.npos || output.ends_with("ds")) return "";
    std::string text = "channel " + std::to_string(i % static_cast<std::size_t>(of.shape.norm.c));
    const auto add = [&](const char* name, double value) {
      text += std::string(", ") + name + " = " + number_text(value);
    };
    add("x", static_cast<double>(of.main.x[i]));
    if (!of.other.x.empty()) add("the other's x", static_cast<double>(of.other.x[i]));
    if (!of.residual.empty()) add("residual", static_cast<double>(of.residual[i]));
    if (!of.residual_codes.empty()) add("the residual's code", of.residual_codes[i]);
    add("z", static_cast<double>(sums[i]));
    add("z/step", static_cast<double>(sums[i]) / static_cast<double>(of.step));
    if (of.shape.identity == RTFQ_IDENTITY_CODES)
      add("z/identity_step", static_cast<double>(sums[i]) / static_cast<double>(of.identity_step));
    if (!of.g_codes.empty()) add("g_codes", static_cast<double>(of.g_codes[i]));
    if (!of.g_identity.empty()) add("g_identity", static_cast<double>(of.g_identity[i]));
    return text;
  };
}

Values all_stored(Values values, rtfq_dtype type) {
  for (double& value : values) value = stored(type, value);
  return values;
}

}  // namespace

std::unique_ptr<Problem<NormQuantForward>> forward(const Case& c, const Contract& contract) {
  auto problem = std::make_unique<Problem<NormQuantForward>>();
  NormQuantProblem p = draw_problem(c);
  problem->shape = p.shape;
  auto& a = problem->args;
  a.in = add_operands(*problem, p);
  Sums sums(c, p);
  const std::size_t n = p.main.x.size();
  const auto add_codes = [&](const char* name, float step, int32_t qp) {
    auto* to = problem->add<uint8_t>(n);
    auto expected = reference::normquant_codes(sums.z, sums.exact, step, qp, contract);
    problem->expected.push_back({.name = name,
                                 .buffer = problem->last(),
                                 .type = RTFQ_U8,
                                 .values = std::move(expected.codes),
                                 .neighbours = std::move(expected.neighbours)});
    return to;
  };
  a.codes = add_codes("codes", p.step, c.qp);
  if (c.identity == RTFQ_IDENTITY_CODES) a.identity = add_codes("identity", p.identity_step, 255);
  if (c.identity == RTFQ_IDENTITY_VALUES) {
    Values values(sums.z.begin(), sums.z.end());
    for (double& value : values) value = value < 0 ? 0 : value;
    a.identity = add_typed(problem.get(), c.type, n);
    problem->expected.push_back({.name = "identity",
                                 .buffer = problem->last(),
                                 .type = c.type,
                                 .values = all_stored(std::move(values), c.type),
                                 .near_absolute = sums.reach(),
                                 .near_relative = c.random && c.type == RTFQ_BF16 ? 0x1p-8 : 0});
  }
  explain(*problem, std::move(p), std::move(sums.z));
  return problem;
}

std::unique_ptr<Problem<NormQuantReduce>> reduce(const Case& c, const Contract& contract) {
  auto problem = std::make_unique<Problem<NormQuantReduce>>();
  NormQuantProblem p = draw_problem(c);
  problem->shape = p.shape;
  auto& a = problem->args;
  a.in = add_operands(*problem, p);
  a.g_codes = add_operand(problem.get(), c.type, p.g_codes);
  const std::size_t g_codes_buffer = problem->last();
  a.g_identity = add_operand(problem.get(), c.type, p.g_identity);
  const std::size_t g_identity_buffer = problem->last();

  Sums sums(c, p);
  reference::NormQuantGradients expected;
  if (c.reference) expected = reference::normquant_reduce(p, sums.z, sums.exact, contract);
  if (c.stores_g_z) {
    std::size_t buffer = c.place == Place::of_g_identity ? g_identity_buffer : g_codes_buffer;
    if (c.place == Place::own) {
      a.g_z = add_typed(problem.get(), c.type, p.main.x.size());
      buffer = problem->last();
    } else {
      a.g_z = const_cast<void*>(c.place == Place::of_g_identity ? a.g_identity : a.g_codes);
      restore_buffer(problem.get(), buffer);
    }
    problem->expected.push_back(
        {.name = "g_z",
         .buffer = buffer,
         .type = c.type,
         .values = {expected.g_z.begin(), expected.g_z.end()},
         .neighbours = {expected.g_z_neighbours.begin(), expected.g_z_neighbours.end()}});
  }
  // Random terms are of the order of 1 (times 1/deviation, at most 2.3): an error of an ulp each, at random,
  // and a half for the result.
  const auto terms = static_cast<double>(p.shape.norm.n * p.shape.norm.hw);
  const double absolute = c.random ? c.sums * 1e-6 * std::sqrt(terms) : 0, relative = c.random ? 5e-7 : 0;
  const auto add_sum = [&](const char* name, const Values& values) {
    float* to = problem->add<float>(p.main.mean.size());
    problem->expected.push_back({name, problem->last(), RTFQ_F32, values, absolute, relative});
    problem->expected.back().near_absolute = expected.near_g;
    return to;
  };
  a.sum_g = add_sum("sum_g", expected.sum_g);
  a.sum_gx = add_sum("sum_gx", expected.sum_gx);
  if (c.residual == RTFQ_RESIDUAL_NORM) a.other_sum_gx = add_sum("other_sum_gx", expected.other_sum_gx);

  a.grad_scale = c.random ? 0.0123f : 0.25f;
  a.identity_grad_scale = c.random ? 0.0041f : 0.5f;
  const auto add_step = [&](const char* name, double sum, double weight, double near, float scale) {
    float* to = problem->add<float>(1);
    *to = 3;
    restore_buffer(problem.get(), problem->last());
    problem->expected.push_back({name,
                                 problem->last(),
                                 RTFQ_F32,
                                 {3 + sum * static_cast<double>(scale)},
                                 c.random ? 2e-6 * weight * static_cast<double>(scale) : 0,
                                 c.random ? 2e-7 : 0});
    problem->expected.back().near_absolute = near * static_cast<double>(scale);
    return to;
  };
  if (c.wants_ds) {
    a.ds = add_step("ds", expected.ds, expected.ds_weight, expected.near_ds, a.grad_scale);
    if (c.identity == RTFQ_IDENTITY_CODES)
      a.identity_ds = add_step("identity_ds", expected.identity_ds, expected.identity_ds_weight,
                               expected.near_identity_ds, a.identity_grad_scale);
  }
  problem->workspace = &a.workspace;
  explain(*problem, std::move(p), std::move(sums.z));
  return problem;
}

std::unique_ptr<Problem<NormQuantApply>> apply(const Case& c, const Contract& contract) {
  auto problem = std::make_unique<Problem<NormQuantApply>>();
  NormQuantProblem p = draw_problem(c);
  const BatchNormShape& s = p.shape.norm;
  const bool two = c.residual == RTFQ_RESIDUAL_NORM;
  problem->shape = p.shape;
  auto& a = problem->args;
  a.in = add_operands(*problem, p);
  Sums z(c, p);
  auto [g_z, g_z_neighbours] = [&] {
    if (!c.reference) return std::pair{draw(c, p.main.x.size(), 65, 3), std::vector<float>()};
    auto expected = reference::normquant_reduce(p, z.z, z.exact, contract);
    return std::pair{std::move(expected.g_z), std::move(expected.g_z_neighbours)};
  }();
  if (c.stores_g_z) a.g_z = add_operand(problem.get(), c.type, g_z);
  const std::size_t g_z_buffer = problem->last();
  if (!c.stores_g_z) a.g_codes = add_operand(problem.get(), c.type, p.g_codes);
  const std::size_t g_codes_buffer = problem->last();
  if (!c.stores_g_z) a.g_identity = add_operand(problem.get(), c.type, p.g_identity);

  Values counts;
  for (int i = 0; i < s.segments; ++i) {
    // As if another rank had as many values; exact: a power of two.
    a.counts[i] = c.random ? 2 * static_cast<float>(count(s, i)) : std::ldexp(256.0f, i % 3);
    counts.push_back(static_cast<double>(a.counts[i]));
  }
  const auto draw_sums = [&](uint64_t seed) {  // exact: the mean gradients are multiples of an eighth
    std::vector<float> sums(p.main.mean.size());
    c.random ? fill_normal(sums.data(), sums.size(), seed, 0, 0.3f * a.counts[0])
             : fill_exact(sums.data(), sums.size(), seed, 4, 32.0f);
    return sums;
  };
  const auto sum_g = draw_sums(71), sum_gx = draw_sums(72), other_sum_gx = draw_sums(73);
  const auto add_sums = [&](const std::vector<float>& sums) {
    return static_cast<const float*>(add_operand(problem.get(), RTFQ_F32, sums));
  };
  a.sum_g = add_sums(sum_g);
  a.sum_gx = add_sums(sum_gx);
  if (two) a.other_sum_gx = add_sums(other_sum_gx);

  // Three terms of the order of 1 to 10 cancel, times scale/deviation of at most 4; in bf16 the result is
  // rounded.
  const double absolute = c.random ? 5e-6 : 0, relative = !c.random ? 0 : c.type == RTFQ_BF16 ? 0x1p-8 : 5e-7;
  const auto expect = [&](const char* name, const NormOperands& norm, const std::vector<float>& of,
                          std::size_t buffer) {
    const auto gradients = [&](const std::vector<float>& g) -> Values {
      if (g.empty() || !c.reference) return {};
      Values dx = reference::normquant_apply(s, norm, g, {sum_g.begin(), sum_g.end()}, {of.begin(), of.end()},
                                             counts);
      return c.random ? std::move(dx) : all_stored(std::move(dx), c.type);
    };
    problem->expected.push_back({.name = name,
                                 .buffer = buffer,
                                 .type = c.type,
                                 .values = gradients(g_z),
                                 .absolute = absolute,
                                 .relative = relative,
                                 .neighbours = c.stores_g_z ? Values{} : gradients(g_z_neighbours)});
  };
  if (c.place == Place::of_g_codes) {
    a.dx = const_cast<void*>(a.g_codes);
    restore_buffer(problem.get(), g_codes_buffer);
    expect("dx", p.main, sum_gx, g_codes_buffer);
  } else {
    a.dx = add_typed(problem.get(), c.type, g_z.size());
    expect("dx", p.main, sum_gx, problem->last());
  }
  if (two && c.place == Place::of_g_z) {
    a.other_dx = const_cast<void*>(a.g_z);
    restore_buffer(problem.get(), g_z_buffer);
    expect("other_dx", p.other, other_sum_gx, g_z_buffer);
  } else if (two) {
    a.other_dx = add_typed(problem.get(), c.type, g_z.size());
    expect("other_dx", p.other, other_sum_gx, problem->last());
  }
  explain(*problem, std::move(p), std::move(z.z));
  return problem;
}

}  // namespace rtfq::kernels::catalog::normquant
