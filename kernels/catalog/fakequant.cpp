// Fake-quant. Steps that are powers of two put values exactly on ties and borders, where rounding and the
// strict inequalities of the gradient show; codes and values are met exactly with any step, because the
// reference rounds 1/s and x*r to f32 where the contract says so.
#include "kernels/fakequant.h"

#include <array>
#include <cmath>
#include <limits>

#include "kernels/catalog/typed.h"

namespace rtfq::kernels::catalog {
namespace {

enum class Data {
  exact,    // multiples of an eighth of the step: ties, borders, NaN, infinities; sums are exact
  special,  // the above, and neighbours of the borders by one ulp, denormals and the greatest floats
  random,   // normal
};

struct Case {
  std::string name;
  FakeQuantShape shape;
  Data data = Data::exact;
  float step = 0.125f;
  bool large = false;
};

std::size_t dense_count(const FakeQuantShape& s) {
  return static_cast<std::size_t>(count(s));
}

bool dense(const FakeQuantShape& s) {
  return s.rows == 1 && s.groups == 1;
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

/// x in its parent; what lies outside the slice is NaN, so that reading it would show in every sum.
void fill_x(const Case& c, const std::vector<float>& step, float* x, bool notable = true) {
  const FakeQuantShape& s = c.shape;
  const std::size_t n = dense_count(s), drawn = std::min<std::size_t>(n, 1 << 16);
  std::vector<float> v(drawn);
  if (c.data == Data::random)
    fill_normal(v.data(), drawn, 11, s.qn ? 0.0f : 0.3f, 0.6f * static_cast<float>(s.qp));
  else
    fill_exact(v.data(), drawn, 12, 8 * (s.qp + 3), 0.125f);
  if (c.data != Data::random && notable) {
    const auto values = notable_values(s, c.data);
    for (std::size_t i = 0; i < drawn; ++i)
      if (i < values.size() || i % 5 == 0) v[i] = values[i % values.size()];
  }
  std::fill_n(x, parent_count(s), std::numeric_limits<float>::quiet_NaN());
  for_each_element(s, [&](int64_t row, std::size_t at, std::size_t i) {
    x[at] = v[i % drawn] * step[static_cast<std::size_t>(s.per_row ? row : 0)];
  });
}

struct Quantized {
  double v;        // rounded to f32, as the contract says
  double code, t;  // t: d value / d step
  bool inside;
};

Quantized reference(const FakeQuantShape& s, float x, float step) {
  const auto r = static_cast<float>(1.0 / static_cast<double>(step));
  Quantized q{};
  q.v = static_cast<double>(static_cast<float>(static_cast<double>(x) * static_cast<double>(r)));
  const double low = -s.qn, high = s.qp;
  const double rounded = std::isfinite(q.v) ? std::nearbyint(q.v) : q.v;
  q.inside = q.v > low && q.v < high;
  q.code = std::isnan(q.v) ? low : std::min(std::max(rounded, low), high);
  q.t = q.inside ? rounded - q.v : q.v >= high ? high : low;
  return q;
}

std::unique_ptr<Problem<FakeQuantForward>> forward(const Case& c, bool values, bool codes) {
  auto problem = std::make_unique<Problem<FakeQuantForward>>();
  const FakeQuantShape s = problem->shape = c.shape;
  const auto step = make_steps(c);
  std::vector<float> x(parent_count(s));
  fill_x(c, step, x.data());
  void* x_data = add_operand(problem.get(), s.type, &x);
  float* step_data = problem->add<float>(step.size());
  std::copy(step.begin(), step.end(), step_data);
  problem->args = {x_data, step_data, nullptr, nullptr};

  std::vector<double> expected_values, expected_codes;
  for_each_element(s, [&](int64_t row, std::size_t at, std::size_t) {
    const float its_step = step[static_cast<std::size_t>(s.per_row ? row : 0)];
    const double code = reference(s, x[at], its_step).code;
    if (codes) expected_codes.push_back(code);
    if (values) expected_values.push_back(stored(s.type, code * static_cast<double>(its_step)));
  });
  if (values) {
    problem->args.y = add_typed(problem.get(), s.type, dense_count(s));
    problem->expected.push_back({"y", problem->last(), s.type, std::move(expected_values)});
  }
  if (codes) {
    problem->args.codes = problem->add<uint8_t>(dense_count(s));
    problem->expected.push_back(
        {"codes", problem->last(), s.qn > 0 ? RTFQ_S8 : RTFQ_U8, std::move(expected_codes)});
  }
  return problem;
}

struct Wanted {
  bool dx, accumulate, ds;
};

std::unique_ptr<Problem<FakeQuantBackward>> backward(const Case& c, Wanted wanted) {
  auto problem = std::make_unique<Problem<FakeQuantBackward>>();
  const FakeQuantShape s = problem->shape = c.shape;
  const auto step = make_steps(c);
  const std::size_t parent = parent_count(s), n = dense_count(s), drawn = std::min<std::size_t>(n, 1 << 16);
  std::vector<float> x(parent), g(n);
  fill_x(c, step, x.data());
  const void* x_data = add_operand(problem.get(), s.type, &x);
  float* step_data = problem->add<float>(step.size());
  std::copy(step.begin(), step.end(), step_data);
  c.data == Data::random ? fill_normal(g.data(), drawn, 13) : fill_exact(g.data(), drawn, 14, 3);
  for (std::size_t i = drawn; i < n; ++i) g[i] = g[i - drawn];
  const void* g_data = add_operand(problem.get(), s.type, &g);
  const float grad_scale = c.data == Data::random ? 0.0123f : 0.25f;

  const auto old_dx = std::make_shared<std::vector<float>>(parent);
  fill_exact(old_dx->data(), std::min(parent, drawn), 15, 50);
  const auto old_ds = std::make_shared<std::vector<float>>(step.size());
  fill_exact(old_ds->data(), step.size(), 16, 9);

  std::vector<double> dx(old_dx->begin(), old_dx->end()), ds(step.size()), weight(step.size());
  for_each_element(s, [&](int64_t row, std::size_t at, std::size_t i) {
    const auto which = static_cast<std::size_t>(s.per_row ? row : 0);
    const Quantized q = reference(s, x[at], step[which]);
    dx[at] =
        stored(s.type, (wanted.accumulate ? dx[at] : 0.0) + (q.inside ? static_cast<double>(g[i]) : 0.0));
    ds[which] += static_cast<double>(g[i]) * q.t;
    weight[which] += std::abs(static_cast<double>(g[i]) * q.t);
  });
  double greatest = 0;
  for (std::size_t i = 0; i < ds.size(); ++i) {
    ds[i] = static_cast<double>((*old_ds)[i]) + ds[i] * static_cast<double>(grad_scale);
    greatest = std::max(greatest, weight[i] * static_cast<double>(grad_scale));
  }

  problem->args = {g_data, x_data, step_data, nullptr, wanted.accumulate, nullptr, grad_scale, nullptr};
  problem->workspace = &problem->args.workspace;
  if (wanted.dx) {
    problem->args.dx = add_typed(problem.get(), s.type, parent);
    problem->expected.push_back({"dx", problem->last(), s.type, std::move(dx)});
  }
  if (wanted.ds) {
    problem->args.ds = problem->add<float>(step.size());
    const bool inexact = c.data != Data::exact;
    problem->expected.push_back(
        {"ds", problem->last(), RTFQ_F32, std::move(ds), inexact ? 2e-6 * greatest : 0, inexact ? 2e-7 : 0});
  }
  problem->restore = [old_dx, old_ds, wanted, p = problem.get()] {
    for (std::size_t i = 0; wanted.dx && i < old_dx->size(); ++i)
      store(p->shape.type, (*old_dx)[i], p->args.dx, i);
    if (wanted.ds) std::copy(old_ds->begin(), old_ds->end(), p->args.ds);
  };
  return problem;
}

std::unique_ptr<Problem<AbsSum>> abs_sum(const Case& c, bool notable) {
  auto problem = std::make_unique<Problem<AbsSum>>();
  const FakeQuantShape s = problem->shape = c.shape;
  const auto step = make_steps(c);
  std::vector<float> x(parent_count(s));
  fill_x(c, step, x.data(), notable);
  const void* x_data = add_operand(problem.get(), s.type, &x);
  std::vector<double> sums(step.size());
  for_each_element(s, [&](int64_t row, std::size_t at, std::size_t) {
    const double value = static_cast<double>(x[at]);
    sums[static_cast<std::size_t>(s.per_row ? row : 0)] += s.qn == 0 && value < 0 ? 0 : std::abs(value);
  });
  problem->args = {x_data, problem->add<float>(step.size()), nullptr};
  problem->expected.push_back(
      {"out", problem->last(), RTFQ_F32, std::move(sums), 0, c.data == Data::random ? 2e-6 : 0});
  problem->workspace = &problem->args.workspace;
  return problem;
}

/// Slices and sizes that cross the kernels' vectors, blocks and threads.
std::vector<Case> shapes() {
  const QuantBounds u4 = quant_bounds(4, false), s4 = quant_bounds(4, true), u8 = quant_bounds(8, false),
                    s8 = quant_bounds(8, true);
  std::vector<Case> cases;
  for (const int64_t n : {1, 7, 8, 31, 32, 33, 8192, 8193})
    cases.push_back({"dense_" + std::to_string(n), make_fakequant_shape(n, u4)});
  cases.push_back({"dense_40003_signed", make_fakequant_shape(40003, s4)});
  cases.push_back({"dense_40003_random", make_fakequant_shape(40003, u8), Data::random, 0.0371f});
  cases.push_back({"dense_70000_random_signed", make_fakequant_shape(70000, s8), Data::random, 0.0113f});
  for (const bool per_row : {false, true}) {
    const std::string kind = per_row ? "_per_row" : "_per_tensor";
    const auto add = [&](int64_t k, int64_t rs, int64_t c, int64_t c_parent, Data data, float step) {
      cases.push_back({"weight_" + std::to_string(k) + "x" + std::to_string(rs) + "x" + std::to_string(c) +
                           "_of_" + std::to_string(c_parent) + kind + (data == Data::random ? "_random" : ""),
                       make_fakequant_weight_shape(k, rs, c, c_parent, s4, per_row), data, step});
    };
    add(5, 9, 7, 10, Data::exact, 0.125f);
    add(4, 9, 16, 16, Data::exact, 0.25f);
    add(3, 1, 40, 48, Data::exact, 0.125f);
    add(1, 9, 33, 34, Data::exact, 0.125f);
    add(3, 1, 9000, 9001, Data::exact, 0.125f);
    add(2, 2, 20000, 20008, Data::exact, 0.125f);
    add(96, 9, 48, 64, Data::random, 0.0271f);
    add(700, 1, 64, 80, Data::random, 0.0271f);
  }
  return cases;
}

std::vector<Case> large_cases() {
  const QuantBounds u4 = quant_bounds(4, false), s4 = quant_bounds(4, true);
  const int64_t activations = 64 * 56 * 56 * 64;
  std::vector<Case> cases;
  cases.push_back(
      {"activation_64x56x56x64_u4", make_fakequant_shape(activations, u4), Data::random, 0.037f, true});
  cases.push_back({"weight_512x9x512_per_row", make_fakequant_weight_shape(512, 9, 512, 512, s4, true),
                   Data::random, 0.037f, true});
  cases.push_back({"weight_480x9x480_of_512", make_fakequant_weight_shape(480, 9, 480, 512, s4, false),
                   Data::random, 0.037f, true});
  return cases;
}

/// Beyond the size from which results are stored past the caches.
Case streamed_case() {
  return {"streamed_4194309", make_fakequant_shape((1 << 22) + 5, quant_bounds(4, false)), Data::random,
          0.037f};
}

std::vector<Case> widths(Data data) {
  std::vector<Case> cases;
  for (int bits = 2; bits <= 8; ++bits)
    for (const char* kind : {"unsigned", "signed", "symmetric"}) {
      const QuantBounds bounds = quant_bounds(bits, kind[0] == 's', kind[1] == 'y');
      cases.push_back({std::to_string(bits) + "bit_" + kind, make_fakequant_shape(1003, bounds), data});
    }
  return cases;
}

}  // namespace

std::vector<Entry> fakequant_entries() {
  std::vector<Entry> list;
  const auto add_forward = [&](const Case& c, const char* suffix = "", bool values = true,
                               bool codes = true) {
    list.push_back(entry<FakeQuantForward>(
        c.name + suffix, [=] { return forward(c, values, codes); }, c.large));
  };
  const auto add_backward = [&](const Case& c, const char* suffix = "", Wanted wanted = {true, false, true}) {
    list.push_back(entry<FakeQuantBackward>(
        c.name + suffix, [=] { return backward(c, wanted); }, c.large));
  };
  const auto add_sum = [&](const Case& c, const char* suffix = "", bool notable = false) {
    list.push_back(entry<AbsSum>(
        c.name + suffix, [=] { return abs_sum(c, notable); }, c.large));
  };
  for (const Case& c : widths(Data::special)) {
    add_forward(c);
    add_backward(c, "_special");
  }
  for (const Case& c : widths(Data::exact)) {
    add_backward(c);
    add_sum(c);
  }
  for (const Case& c : shapes()) {
    add_forward(c);
    add_forward(c, "_values_only", true, false);
    add_forward(c, "_codes_only", false, true);
    add_backward(c);
    add_backward(c, "_accumulate", {true, true, true});
    add_sum(c);
  }
  const Case some = shapes()[8],
             slice{"slice", make_fakequant_weight_shape(5, 9, 7, 10, quant_bounds(3, true), true)};
  for (const Case& c : {some, slice}) {
    add_backward(c, "_dx_only", {true, false, false});
    add_backward(c, "_dx_only_accumulate", {true, true, false});
    add_backward(c, "_ds_only", {false, false, true});
  }
  add_sum({"nan_signed", make_fakequant_shape(1003, quant_bounds(4, true))}, "", true);
  add_sum({"nan_unsigned", make_fakequant_shape(1003, quant_bounds(4, false))}, "", true);
  // One step per row at the scale where 1/s and the least step meet.
  add_forward({"least_step", make_fakequant_shape(1003, quant_bounds(8, true)), Data::exact, 0x1p-60f});
  add_backward({"least_step", make_fakequant_shape(1003, quant_bounds(8, true)), Data::exact, 0x1p-60f});
  add_forward(streamed_case(), "_values_only", true, false);
  add_forward(streamed_case());
  add_backward(streamed_case());
  // bf16: the same codes as of the value that bf16 holds; slices and sums as above.
  for (Case c : shapes()) {
    c.name += "_bf16";
    c.shape.type = RTFQ_BF16;
    add_forward(c);
    add_forward(c, "_values_only", true, false);
    add_backward(c);
    add_backward(c, "_accumulate", {true, true, true});
    add_sum(c);
  }
  for (Case c : widths(Data::special)) {
    c.name += "_bf16";
    c.shape.type = RTFQ_BF16;
    add_forward(c);
    add_backward(c, "_special");
  }
  {
    Case c = streamed_case();
    c.name = "streamed_8388613_bf16";
    c.shape = make_fakequant_shape((1 << 23) + 5, quant_bounds(4, false), RTFQ_BF16);
    add_forward(c, "_values_only", true, false);
    add_backward(c);
    c = large_cases()[0];
    c.name += "_bf16";
    c.shape.type = RTFQ_BF16;
    add_forward(c, "_codes", false, true);
    add_backward(c);
  }
  for (const Case& c : large_cases()) {
    add_forward(c, "", true, false);
    add_forward(c, "_codes", false, true);
    add_backward(c, "", {true, !dense(c.shape), true});
    add_sum(c);
  }
  return list;
}

}  // namespace rtfq::kernels::catalog
