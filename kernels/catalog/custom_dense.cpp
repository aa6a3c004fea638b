// Convolutions and linear layers of any size: fp64 sums at some thousand sampled elements, so that verifying
// a layer of ResNet-50 takes milliseconds instead of minutes.
#include <algorithm>
#include <cmath>

#include "kernels/catalog/custom_parts.h"
#include "kernels/conv2d.h"
#include "kernels/linear.h"

namespace rtfq::kernels::catalog::custom_parts {
namespace {

/// A chain of f32 additions is off by some 0.3 * 2^-24 a term; twelve times that, and the same for a large
/// sum.
void tolerate(Expectation& e, double terms, rtfq_dtype type = RTFQ_F32) {
  e.absolute = 0x1p-22 * terms + 1e-6;
  e.relative = 0x1p-19;
  // The result is rounded once more, and may lie on either side of a tie.
  if (type == RTFQ_BF16) e.relative = 0x1p-8 + 0x1p-19;
  e.type = type;
}

double product(float a, float b) {
  return static_cast<double>(a) * static_cast<double>(b);
}

struct Conv {
  Conv2dShape s;
  int64_t p, q;
  std::size_t x, y, w;  ///< elements

  explicit Conv(const CustomRequest& request) {
    Dims dims(request);
    s = conv2d_case(dims).shape();
    dims.finish();
    if (request.type == RTFQ_U8) {
      if (request.op == "conv2d.dgrad") refuse(request, "gradients are f32 or bf16");
      s = with_types(s, RTFQ_U8, request.op == "conv2d.forward" ? RTFQ_S8 : RTFQ_F32, RTFQ_BF16);
    } else {
      require_types(request);
      if (request.type == RTFQ_BF16) s = with_types(s, RTFQ_BF16, RTFQ_F32, RTFQ_BF16);
    }
    p = output_height(s);
    q = output_width(s);
    x = static_cast<std::size_t>(s.n * s.h * s.w * s.c);
    y = static_cast<std::size_t>(s.n * p * q * s.k);
    w = static_cast<std::size_t>(s.k * s.r * s.s * s.c_parent);
  }
  int64_t weight(int64_t k, int64_t r, int64_t col) const { return ((k * s.r + r) * s.s + col) * s.c_parent; }
  /// The output row that input row `h` reaches through filter row `r`, or -1.
  int64_t back(int64_t at, int64_t tap, int64_t limit) const {
    const int64_t shifted = at + s.pad - tap;
    return shifted < 0 || shifted % s.stride || shifted / s.stride >= limit ? -1 : shifted / s.stride;
  }
};

/// Weights as they are stored, in f32, and as a product of the request's type uses them.
struct Weights {
  const void* stored;
  std::vector<float> used;

  template <class Op>
  Weights(Problem<Op>& problem, const CustomRequest& request, std::size_t count) {
    if (request.type == RTFQ_U8) {
      used.resize(count);
      fill_exact(used.data(), count, 2, 127);
      stored = add_operand(&problem, RTFQ_S8, &used);
      return;
    }
    float* data = problem.template add<float>(count);
    fill(request, data, count, 2);
    stored = data;
    used.assign(data, data + count);
    if (request.type == RTFQ_BF16)
      for (float& value : used)
        value = static_cast<float>(catalog::stored(RTFQ_BF16, static_cast<double>(value)));
  }
};

/// Seeded codes in [low, high].
std::vector<float> codes(std::size_t count, uint64_t seed, int low, int high) {
  std::vector<float> values(count);
  fill_exact(values.data(), count, seed, (high - low) / 2);
  for (float& value : values)
    value = std::min(value + static_cast<float>((high + low + 1) / 2), static_cast<float>(high));
  return values;
}

/// Activations of the request's type, or codes.
template <class Op>
const void* activations(Problem<Op>& problem, const CustomRequest& request, std::vector<float>* values,
                        std::size_t count) {
  if (request.type != RTFQ_U8) return operand(problem, request, values, count, 1);
  *values = codes(count, 1, 0, 255);
  return add_operand(&problem, RTFQ_U8, values);
}

/// The scales of a convolution of codes, one a channel or one.
template <class Op>
const float* scales(Problem<Op>& problem, std::size_t count) {
  float* data = problem.template add<float>(count);
  for (std::size_t i = 0; i < count; ++i) data[i] = 1e-3f * static_cast<float>(1 + i % 7);
  return data;
}

std::unique_ptr<Instance> forward(const CustomRequest& request, const Conv& z) {
  auto problem = std::make_unique<Problem<Conv2dForward>>();
  const auto& s = problem->shape = z.s;
  std::vector<float> x_values;
  const void* x_data = activations(*problem, request, &x_values, z.x);
  const float* x = x_values.data();
  const Weights w(*problem, request, z.w);
  const bool on_codes = request.type == RTFQ_U8;
  const float* scale = on_codes ? scales(*problem, static_cast<std::size_t>(s.k)) : nullptr;
  void* y = add_typed(problem.get(), s.y_type, z.y);
  Expectation e{.name = "y", .buffer = problem->last(), .values = {}};
  const auto terms = static_cast<double>(s.r * s.s * s.c);
  tolerate(e, terms, s.y_type);
  if (on_codes) e.absolute = e.relative = 0;
  if (request.reference) e.at = sample(z.y, samples(terms), 3);
  if (request.reference) e.values = conv2d_reference_forward(s, x, w.used.data(), e.at);
  // Sums of codes are exact; one f32 product and one rounding follow.
  for (std::size_t i = 0; on_codes && i < e.values.size(); ++i)
    e.values[i] =
        catalog::stored(s.y_type, static_cast<double>(static_cast<float>(e.values[i]) *
                                                      scale[e.at[i] % static_cast<std::size_t>(s.k)]));
  problem->expected.push_back(std::move(e));
  problem->args = {x_data, nullptr, y, nullptr, scale};
  problem->weights = w.stored;
  problem->packed = &problem->args.packed;
  problem->workspace = &problem->args.workspace;
  return instance_of(std::move(problem));
}

std::unique_ptr<Instance> dgrad(const CustomRequest& request, const Conv& z) {
  auto problem = std::make_unique<Problem<Conv2dDgrad>>();
  const auto& s = problem->shape = z.s;
  std::vector<float> g_values;
  const void* g_data = operand(*problem, request, &g_values, z.y, 1);
  const float* g = g_values.data();
  const Weights w(*problem, request, z.w);
  void* dx = add_typed(problem.get(), request.type, z.x);
  Expectation e{.name = "dx", .buffer = problem->last(), .values = {}};
  const auto terms = static_cast<double>(s.r * s.s * s.k);
  tolerate(e, terms, request.type);
  if (request.reference) e.at = sample(z.x, samples(terms), 3);
  for (const std::size_t i : e.at) {
    const auto index = static_cast<int64_t>(i);
    const int64_t c = index % s.c, v = index / s.c % s.w, h = index / s.c / s.w % s.h,
                  n = index / s.c / s.w / s.h;
    double sum = 0;
    for (int64_t r = 0; r < s.r; ++r)
      for (int64_t col = 0; col < s.s; ++col) {
        const int64_t p = z.back(h, r, z.p), q = z.back(v, col, z.q);
        if (p < 0 || q < 0) continue;
        const float* from = g + ((n * z.p + p) * z.q + q) * s.k;
        for (int64_t k = 0; k < s.k; ++k)
          sum += product(from[k], w.used[static_cast<std::size_t>(z.weight(k, r, col) + c)]);
      }
    e.values.push_back(sum);
  }
  problem->expected.push_back(std::move(e));
  problem->args = {g_data, nullptr, dx, nullptr};
  problem->weights = w.stored;
  problem->packed = &problem->args.packed;
  problem->workspace = &problem->args.workspace;
  return instance_of(std::move(problem));
}

std::unique_ptr<Instance> wgrad(const CustomRequest& request, const Conv& z) {
  auto problem = std::make_unique<Problem<Conv2dWgrad>>();
  const auto& s = problem->shape = z.s;
  std::vector<float> x_values, g_values;
  const void* x_data = activations(*problem, request, &x_values, z.x);
  const bool on_codes = request.type == RTFQ_U8;
  CustomRequest gradient = request;
  if (on_codes) gradient.type = s.y_type;
  const void* g_data = operand(*problem, gradient, &g_values, z.y, 2);
  const float* scale = on_codes ? scales(*problem, 1) : nullptr;
  const float *x = x_values.data(), *g = g_values.data();
  float* dw = problem->add<float>(z.w);
  Expectation e{.name = "dw", .buffer = problem->last(), .values = {}};
  const auto terms = static_cast<double>(s.n * z.p * z.q);
  tolerate(e, terms);
  if (on_codes)
    e.absolute *= 255 * static_cast<double>(*scale);  // codes are that much larger than normal numbers
  std::vector<std::size_t> at;
  if (request.reference) at = sample(static_cast<std::size_t>(s.k * s.r * s.s * s.c), samples(terms), 3);
  for (const std::size_t i : at) {
    const auto index = static_cast<int64_t>(i);
    const int64_t c = index % s.c, col = index / s.c % s.s, r = index / s.c / s.s % s.r,
                  k = index / s.c / s.s / s.r;
    double sum = 0;
    for (int64_t n = 0; n < s.n; ++n)
      for (int64_t p = 0; p < z.p; ++p)
        for (int64_t q = 0; q < z.q; ++q) {
          const int64_t h = p * s.stride - s.pad + r, v = q * s.stride - s.pad + col;
          if (h < 0 || h >= s.h || v < 0 || v >= s.w) continue;
          sum += product(x[((n * s.h + h) * s.w + v) * s.c + c], g[((n * z.p + p) * z.q + q) * s.k + k]);
        }
    e.at.push_back(static_cast<std::size_t>(z.weight(k, r, col) + c));
    e.values.push_back(on_codes ? sum * static_cast<double>(*scale) : sum);
  }
  problem->expected.push_back(std::move(e));
  problem->args = {x_data, g_data, dw, false, nullptr, scale};
  problem->workspace = &problem->args.workspace;
  return instance_of(std::move(problem));
}

struct Layer {
  LinearShape s;
  std::size_t x, y, w;

  explicit Layer(const CustomRequest& request) {
    Dims dims(request);
    const int64_t c = dims.need("c");
    s = make_linear_shape(dims.need("n"), c, dims.need("k"), dims.get("of", c));
    dims.finish();
    if (request.type != RTFQ_F32) refuse(request, "operands are f32");
    x = static_cast<std::size_t>(s.n * s.c);
    y = static_cast<std::size_t>(s.n * s.k);
    w = static_cast<std::size_t>(s.k * s.c_parent);
  }
};

/// Sums over `terms` products each at sampled elements of [rows, cols].
template <class Term>
void expect_sums(Expectation& e, int64_t rows, int64_t cols, int64_t terms, int64_t stride, Term term) {
  tolerate(e, static_cast<double>(terms));
  for (const std::size_t i :
       sample(static_cast<std::size_t>(rows * cols), samples(static_cast<double>(terms)), 3)) {
    const int64_t row = static_cast<int64_t>(i) / cols, col = static_cast<int64_t>(i) % cols;
    double sum = 0;
    for (int64_t t = 0; t < terms; ++t) sum += term(row, col, t);
    e.at.push_back(static_cast<std::size_t>(row * stride + col));
    e.values.push_back(sum);
  }
}

}  // namespace

std::unique_ptr<Instance> conv2d(const CustomRequest& request) {
  const Conv z(request);
  if (request.op == "conv2d.forward") return forward(request, z);
  return request.op == "conv2d.dgrad" ? dgrad(request, z) : wgrad(request, z);
}

std::unique_ptr<Instance> linear(const CustomRequest& request) {
  const Layer z(request);
  const auto& s = z.s;
  const auto floats = [&](auto& problem, std::size_t count, uint64_t seed) {
    float* data = problem.template add<float>(count);
    fill(request, data, count, seed);
    return data;
  };
  if (request.op == "linear.forward") {
    auto problem = std::make_unique<Problem<LinearForward>>();
    problem->shape = s;
    const float *x = floats(*problem, z.x, 1), *w = floats(*problem, z.w, 2),
                *bias = floats(*problem, static_cast<std::size_t>(s.k), 4);
    problem->args = {x, w, bias, problem->add<float>(z.y), nullptr};
    Expectation e{.name = "y", .buffer = problem->last(), .values = {}};
    expect_sums(e, s.n, s.k, s.c, s.k, [&](int64_t n, int64_t k, int64_t c) {
      return product(x[n * s.c + c], w[k * s.c_parent + c]) + (c == 0 ? static_cast<double>(bias[k]) : 0);
    });
    problem->expected.push_back(std::move(e));
    problem->workspace = &problem->args.workspace;
    return instance_of(std::move(problem));
  }
  if (request.op == "linear.dgrad") {
    auto problem = std::make_unique<Problem<LinearDgrad>>();
    problem->shape = s;
    const float *g = floats(*problem, z.y, 1), *w = floats(*problem, z.w, 2);
    problem->args = {g, w, problem->add<float>(z.x), nullptr};
    Expectation e{.name = "dx", .buffer = problem->last(), .values = {}};
    expect_sums(e, s.n, s.c, s.k, s.c, [&](int64_t n, int64_t c, int64_t k) {
      return product(g[n * s.k + k], w[k * s.c_parent + c]);
    });
    problem->expected.push_back(std::move(e));
    problem->workspace = &problem->args.workspace;
    return instance_of(std::move(problem));
  }
  auto problem = std::make_unique<Problem<LinearWgrad>>();
  problem->shape = s;
  const float *x = floats(*problem, z.x, 1), *g = floats(*problem, z.y, 2);
  problem->args = {x, g, problem->add<float>(z.w), nullptr, false, nullptr};
  Expectation e{.name = "dw", .buffer = problem->last(), .values = {}};
  expect_sums(e, s.k, s.c, s.n, s.c_parent,
              [&](int64_t k, int64_t c, int64_t n) { return product(x[n * s.c + c], g[n * s.k + k]); });
  problem->expected.push_back(std::move(e));
  problem->workspace = &problem->args.workspace;
  return instance_of(std::move(problem));
}

}  // namespace rtfq::kernels::catalog::custom_parts
