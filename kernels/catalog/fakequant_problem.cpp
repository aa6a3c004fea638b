// Fake-quant against the contract in fp64. Rounding ties, borders, NaN and values beyond them are met exactly
// with any step, because the reference rounds 1/s and x*r to f32 where the contract says so.
#include "kernels/catalog/fakequant_problem.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "kernels/catalog/operands.h"
#include "kernels/catalog/rounding.h"
#include "kernels/catalog/typed.h"

namespace rtfq::kernels::catalog::quantizer {
namespace {

std::size_t dense_count(const FakeQuantShape& s) {
  return static_cast<std::size_t>(count(s));
}

bool dense(const FakeQuantShape& s) {
  return s.rows == 1 && s.groups == 1;
}

/// Where nothing is expected.
FakeQuantShape nothing_of(FakeQuantShape s) {
  s.rows = 0;
  return s;
}

/// A slice's parent has a row more than the slice.
std::size_t parent_count(const FakeQuantShape& s) {
  return dense(s) ? dense_count(s) : static_cast<std::size_t>((s.rows + 1) * s.row_stride);
}

/// Calls f(row, offset in the parent, dense index).
template <class F>
void for_each_element(const FakeQuantShape& s, F&& f) {
  std::size_t i = 0;
  for (int64_t row = 0; row < s.rows; ++row)
    for (int64_t group = 0; group < s.groups; ++group)
      for (int64_t col = 0; col < s.cols; ++col)
        f(row, static_cast<std::size_t>(row * s.row_stride + group * s.group_stride + col), i++);
}

/// Steps of rows differ by powers of two.
std::vector<float> make_steps(const Case& c) {
  std::vector<float> result;
  for (int64_t i = 0; i < steps(c.shape); ++i) result.push_back(std::ldexp(c.step, static_cast<int>(i % 3)));
  return result;
}

/// v that matter, to be multiplied by the step.
std::vector<float> notable_values(const FakeQuantShape& s, Data data) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const auto low = static_cast<float>(-s.qn), high = static_cast<float>(s.qp);
  std::vector<float> v{0.0f,       -0.0f,       0.5f,
                       1.5f,       2.5f,        -0.5f,
                       -1.5f,      -2.5f,       low,
                       high,       0.25f,       low - 0.5f,
                       low + 0.5f, high - 0.5f, high + 0.5f,
                       low - 1,    high + 1,    infinity,
                       1.0f,       -1.0f,       -infinity,
                       -0.25f,     high + 1000, low - 1000,
                       0.375f,     0.625f,      std::numeric_limits<float>::quiet_NaN()};
  if (data == Data::special)
    for (const float x : {low, high, 0.0f, 0.5f, -0.5f, 1.5f, high - 0.5f, low + 0.5f}) {
      v.push_back(std::nextafter(x, infinity));
      v.push_back(std::nextafter(x, -infinity));
    }
  if (data == Data::special)
    for (const float x : {std::numeric_limits<float>::max(), std::numeric_limits<float>::denorm_min(),
                          std::numeric_limits<float>::min()}) {
      v.push_back(x);
      v.push_back(-x);
    }
  return v;
}

/// Where x is stored, in f32, bf16 or f16.
struct Stored {
  void* data;
  rtfq_dtype type;

  void set(std::size_t i, float value) const { store(type, value, data, i); }
  float get(std::size_t i) const { return static_cast<float>(element(type, data, i)); }
};

template <class Op>
Stored add(Problem<Op>& problem, std::size_t count, rtfq_dtype type) {
  return {add_typed(&problem, type, count), type};
}

/// x in its parent; what lies outside the slice is NaN, so that reading it would show in every sum.
void fill_x(const Case& c, const std::vector<float>& step, const Stored& x, const Contract& contract,
            bool notable = true) {
  const FakeQuantShape& s = c.shape;
  const std::size_t n = dense_count(s), drawn = std::min<std::size_t>(n, 1 << 16);
  std::vector<float> v(drawn);
  if (c.data == Data::random)
    fill_normal(v.data(), drawn, 11, s.qn ? 0.0f : 0.3f, 0.6f * static_cast<float>(s.qp));
  else if (c.data == Data::exact || c.data == Data::special)
    fill_exact(v.data(), drawn, 12, 8 * (s.qp + 3), 0.125f);
  if ((c.data == Data::exact || c.data == Data::special) && notable) {
    auto values = notable_values(s, c.data);
    if (contract.finite_only) std::erase_if(values, [](float value) { return !std::isfinite(value); });
    for (std::size_t i = 0; i < drawn; ++i)
      if (i < values.size() || i % 5 == 0) v[i] = values[i % values.size()];
  }
  const std::size_t parent = parent_count(s);
  for (std::size_t i = 0; i < parent; ++i) x.set(i, std::numeric_limits<float>::quiet_NaN());
  for_each_element(s, [&](int64_t row, std::size_t at, std::size_t i) {
    const float its_step = step[static_cast<std::size_t>(s.per_row ? row : 0)];
    float value = c.given ? (*c.given)[i % c.given->size()] : v[i % drawn] * its_step;
    // A finite v times a step above one may be none.
    if (contract.finite_only && !std::isfinite(value)) value = 0;
    x.set(at, value);
  });
}

struct Quantized : Code {
  // Another order of rounding may choose the neighbour; never where the contract's own scaling rounds nothing
  // and the value is a tie or border itself.
  bool near_tie, near_border;
  double neighbour;  // its code
};

/// Whether the contract's scaling of x is x/step itself, nothing rounded on the way.
bool scaled_exactly(float x, float step, double exact, rtfq_scaling scaling) {
  const double wide_x = x, wide_step = step;
  // Ties and borders are short numbers: their product with a step is exact in double, so this tells that
  // `exact` is.
  if (exact * wide_step != wide_x) return false;
  if (scaling != RTFQ_RECIPROCAL || wide_x == 0) return true;
  const double r = static_cast<float>(1.0 / wide_step);
  return r * wide_step == 1 && std::abs(wide_x) >= std::numeric_limits<float>::min();
}

Quantized reference(const FakeQuantShape& s, float x, float step, const Contract& contract) {
  const double low = -s.qn, high = s.qp;
  Quantized q{code_of(x, step, low, high, contract), false, false, 0};
  // Two roundings to f32 are off by at most two units of 2^-24; one more for a sum such as v + 0.5.
  const double exact = static_cast<double>(x) / static_cast<double>(step);
  if (!std::isfinite(exact)) return q;
  const Nearness near = nearness(exact, 0x1p-22 * std::max(1.0, std::abs(exact)), q.code, low, high);
  const bool no_excuse = scaled_exactly(x, step, exact, contract.scaling);
  q.near_border = near.low_border || near.high_border;
  if (no_excuse && (exact == low || exact == high)) q.near_border = false;
  q.neighbour = near.neighbour;
  q.near_tie = near.tie && !(no_excuse && exact == std::floor(exact) + 0.5);
  return q;
}

std::string float_text(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  char text[64];
  std::snprintf(text, sizeof text, "%.9g (0x%08x)", static_cast<double>(value), bits);
  return text;
}

/// The inputs of the dense element or, of a gradient strided like x, of the place `at`.
template <class Op>
void explain(Problem<Op>& problem, const Case& c, const Stored& x, const std::vector<float>& step,
             const Contract& contract) {
  problem.inputs = [=](const std::string& output, std::size_t index) -> std::string {
    if (output == "ds" || output == "out") return "";
    const FakeQuantShape& s = c.shape;
    std::string text;
    for_each_element(s, [&](int64_t row, std::size_t at, std::size_t i) {
      if (!text.empty() || (output == "dx" ? at : i) != index) return;
      const float its_step = step[static_cast<std::size_t>(s.per_row ? row : 0)], value = x.get(at);
      char v[40];
      std::snprintf(v, sizeof v, "%.9g", reference(s, value, its_step, contract).v);
      text = "x = " + float_text(value) + ", step = " + float_text(its_step) + ", x/step = " + v +
             ", codes " + std::to_string(-s.qn) + " to " + std::to_string(s.qp);
    });
    return text.empty() ? "outside the slice" : text;
  };
}

}  // namespace

std::unique_ptr<Problem<FakeQuantForward>> forward(const Case& c, bool values, bool codes,
                                                   const Contract& contract) {
  auto problem = std::make_unique<Problem<FakeQuantForward>>();
  const FakeQuantShape s = problem->shape = c.shape;
  const auto step = make_steps(c);
  const Stored x = add(*problem, parent_count(s), s.type);
  fill_x(c, step, x, contract);
  float* step_data = problem->add<float>(step.size());
  std::copy(step.begin(), step.end(), step_data);
  problem->args = {x.data, step_data, nullptr, nullptr};
  explain(*problem, c, x, step, contract);

  Expectation y{.name = "y", .buffer = 0, .type = s.type, .values = {}},
      code{.name = "codes", .buffer = 0, .values = {}};
  if (values && c.reference) y.values.reserve(dense_count(s));
  if (codes && c.reference) code.values.reserve(dense_count(s));
  for_each_element(c.reference ? s : nothing_of(s), [&](int64_t row, std::size_t at, std::size_t) {
    const float its_step = step[static_cast<std::size_t>(s.per_row ? row : 0)];
    const Quantized q = reference(s, x.get(at), its_step, contract);
    const auto value = [&](double which) { return stored(s.type, which * static_cast<double>(its_step)); };
    const double other = q.near_tie ? q.neighbour : q.code;
    if (codes) code.values.push_back(q.code);
    if (codes) code.neighbours.push_back(other);
    if (values) y.values.push_back(value(q.code));
    if (values) y.neighbours.push_back(value(other));
  });
  if (values) {
    problem->args.y = add(*problem, dense_count(s), s.type).data;
    y.buffer = problem->last();
    problem->expected.push_back(std::move(y));
  }
  if (codes) {
    problem->args.codes = problem->add<uint8_t>(dense_count(s));
    code.buffer = problem->last();
    code.type = s.qn > 0 ? RTFQ_S8 : RTFQ_U8;
    problem->expected.push_back(std::move(code));
  }
  return problem;
}

std::unique_ptr<Problem<FakeQuantBackward>> backward(const Case& c, Wanted wanted, const Contract& contract) {
  auto problem = std::make_unique<Problem<FakeQuantBackward>>();
  const FakeQuantShape s = problem->shape = c.shape;
  const auto step = make_steps(c);
  const std::size_t parent = parent_count(s), n = dense_count(s), drawn = std::min<std::size_t>(n, 1 << 16);
  const Stored x = add(*problem, parent, s.type);
  fill_x(c, step, x, contract);
  float* step_data = problem->add<float>(step.size());
  std::copy(step.begin(), step.end(), step_data);
  explain(*problem, c, x, step, contract);
  const Stored g = add(*problem, n, s.type);
  std::vector<float> numbers(drawn);
  c.data == Data::random ? fill_normal(numbers.data(), drawn, 13) : fill_exact(numbers.data(), drawn, 14, 3);
  for (std::size_t i = 0; i < n; ++i) g.set(i, c.data == Data::zeros ? 0 : numbers[i % drawn]);
  const bool exact = c.data == Data::exact || c.data == Data::special;
  const float grad_scale = exact ? 0.25f : 0.0123f;

  const auto old_dx = std::make_shared<std::vector<float>>(parent);
  fill_exact(old_dx->data(), std::min(parent, drawn), 15, 50);
  const auto old_ds = std::make_shared<std::vector<float>>(step.size());
  fill_exact(old_ds->data(), step.size(), 16, 9);

  std::vector<double> dx(old_dx->begin(), old_dx->end()), ds(step.size()), weight(step.size());
  std::vector<double> neighbours = dx;
  double near_weight = 0;
  for_each_element(c.reference ? s : nothing_of(s), [&](int64_t row, std::size_t at, std::size_t i) {
    const auto which = static_cast<std::size_t>(s.per_row ? row : 0);
    const Quantized q = reference(s, x.get(at), step[which], contract);
    const auto gradient = static_cast<double>(g.get(i)), before = wanted.accumulate ? dx[at] : 0.0;
    const auto passed = [&](bool inside) { return stored(s.type, before + (inside ? gradient : 0.0)); };
    dx[at] = passed(q.inside);
    neighbours[at] = passed(q.near_border ? !q.inside : q.inside);
    if (q.near_border || q.near_tie)
      near_weight +=
          std::abs(gradient) * std::max({1.0, static_cast<double>(s.qp), static_cast<double>(s.qn)});
    ds[which] += gradient * q.t;
    weight[which] += std::abs(gradient * q.t);
  });
  double greatest = 0;
  for (std::size_t i = 0; i < ds.size(); ++i) {
    ds[i] = static_cast<double>((*old_ds)[i]) + ds[i] * static_cast<double>(grad_scale);
    greatest = std::max(greatest, weight[i] * static_cast<double>(grad_scale));
  }

  problem->args = {g.data, x.data, step_data, nullptr, wanted.accumulate, nullptr, grad_scale, nullptr};
  problem->workspace = &problem->args.workspace;
  Stored result{nullptr, s.type};
  if (wanted.dx) {
    result = add(*problem, parent, s.type);
    problem->args.dx = result.data;
    problem->expected.push_back(
        {"dx", problem->last(), s.type, std::move(dx), 0, 0, false, std::move(neighbours)});
  }
  if (wanted.ds) {
    problem->args.ds = problem->add<float>(step.size());
    const bool inexact = c.data != Data::exact || contract.scaling != RTFQ_RECIPROCAL || s.type != RTFQ_F32;
    problem->expected.push_back(
        {"ds", problem->last(), RTFQ_F32, std::move(ds), inexact ? 2e-6 * greatest : 0, inexact ? 2e-7 : 0});
    problem->expected.back().near_absolute = near_weight * static_cast<double>(grad_scale);
  }
  problem->restore = [old_dx, old_ds, wanted, result, p = problem.get()] {
    if (wanted.dx)
      for (std::size_t i = 0; i < old_dx->size(); ++i) result.set(i, (*old_dx)[i]);
    if (wanted.ds) std::copy(old_ds->begin(), old_ds->end(), p->args.ds);
  };
  return problem;
}

std::unique_ptr<Problem<AbsSum>> abs_sum(const Case& c, bool notable) {
  auto problem = std::make_unique<Problem<AbsSum>>();
  const FakeQuantShape s = problem->shape = c.shape;
  const auto step = make_steps(c);
  const Stored x = add(*problem, parent_count(s), s.type);
  fill_x(c, step, x, {}, notable);
  std::vector<double> sums(step.size());
  for_each_element(c.reference ? s : nothing_of(s), [&](int64_t row, std::size_t at, std::size_t) {
    const auto value = static_cast<double>(x.get(at));
    sums[static_cast<std::size_t>(s.per_row ? row : 0)] += s.qn == 0 && value < 0 ? 0 : std::abs(value);
  });
  problem->args = {x.data, problem->add<float>(step.size()), nullptr};
  const bool exact = c.data == Data::exact && s.type == RTFQ_F32;
  problem->expected.push_back({"out", problem->last(), RTFQ_F32, std::move(sums), 0, exact ? 0 : 2e-6});
  problem->workspace = &problem->args.workspace;
  return problem;
}

}  // namespace rtfq::kernels::catalog::quantizer
