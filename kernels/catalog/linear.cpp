// Classifiers: strided weight slices, with and without bias, overwriting and accumulating gradients.
#include "kernels/linear.h"

#include "kernels/catalog/problem_instance.h"
#include "kernels/philox.h"

namespace rtfq::kernels::catalog {
namespace {

struct Case {
  const char* name;
  int64_t n, c, k;
  int64_t c_parent = 0, k_parent = 0;  ///< 0: as many as active
  bool exact = true;
  LinearShape shape() const { return make_linear_shape(n, c, k, c_parent ? c_parent : c); }
  std::size_t parent_size() const {
    return static_cast<std::size_t>((k_parent ? k_parent : k) * (c_parent ? c_parent : c));
  }
  /// As for convolutions: some twelve times the expected error of an f32 chain over `terms` products of
  /// normal numbers.
  double tolerance(int64_t terms) const { return exact ? 0.0 : 0x1p-22 * static_cast<double>(terms) + 1e-6; }
  double relative_tolerance() const { return exact ? 0.0 : 0x1p-19; }
  void fill(float* x, int64_t count, uint64_t seed) const {
    if (exact)
      fill_exact(x, static_cast<std::size_t>(count), seed, 4, 0.25f);
    else
      fill_normal(x, static_cast<std::size_t>(count), seed);
  }
};

/// A weight whose elements outside the slice stay poisoned.
template <class Op>
float* add_weight(Problem<Op>* problem, const Case& the_case, uint64_t seed) {
  float* w = problem->template add<float>(the_case.parent_size());
  for (int64_t k = 0; k < problem->shape.k; ++k)
    the_case.fill(w + k * problem->shape.c_parent, problem->shape.c, seed + static_cast<uint64_t>(k));
  return w;
}

template <class Op>
float* add_filled(Problem<Op>* problem, const Case& the_case, int64_t count, uint64_t seed) {
  float* x = problem->template add<float>(static_cast<std::size_t>(count));
  the_case.fill(x, count, seed);
  return x;
}

std::unique_ptr<Problem<LinearForward>> forward(const Case& the_case, bool with_bias) {
  auto problem = std::make_unique<Problem<LinearForward>>();
  const auto s = problem->shape = the_case.shape();
  const float* x = add_filled(problem.get(), the_case, s.n * s.c, 11);
  const float* w = add_weight(problem.get(), the_case, 100);
  const float* bias = with_bias ? add_filled(problem.get(), the_case, s.k, 12) : nullptr;
  std::vector<double> expected;
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t k = 0; k < s.k; ++k) {
      double sum = bias ? bias[k] : 0.0;
      for (int64_t c = 0; c < s.c; ++c) sum += static_cast<double>(x[n * s.c + c]) * w[k * s.c_parent + c];
      expected.push_back(sum);
    }
  float* y = problem->add<float>(static_cast<std::size_t>(s.n * s.k));
  problem->expected.push_back({.name = "y",
                               .buffer = problem->last(),
                               .values = std::move(expected),
                               .absolute = the_case.tolerance(s.c),
                               .relative = the_case.relative_tolerance()});
  problem->args = {x, w, bias, y, nullptr};
  problem->workspace = &problem->args.workspace;
  return problem;
}

/// Codes over their whole range and both ends of it; the sum is exact, the product and the addition round
/// once each.
template <class X>
std::unique_ptr<Problem<LinearForward>> forward_codes(const Case& the_case, rtfq_dtype x_type,
                                                      bool with_bias) {
  auto problem = std::make_unique<Problem<LinearForward>>();
  const auto s = problem->shape = with_types(the_case.shape(), x_type, RTFQ_S8, RTFQ_F32);
  const auto code = [](uint64_t seed, int64_t i, int low) {
    const uint32_t drawn = philox4x32(seed, static_cast<uint64_t>(i), 3)[0];
    return drawn % 5 == 0 ? low : drawn % 5 == 1 ? low + 255 : low + static_cast<int>(drawn / 5 % 256);
  };
  auto* x = problem->add<X>(static_cast<std::size_t>(s.n * s.c));
  for (int64_t i = 0; i < s.n * s.c; ++i) x[i] = static_cast<X>(code(13, i, x_type == RTFQ_U8 ? 0 : -128));
  auto* w = problem->add<int8_t>(the_case.parent_size());
  for (int64_t k = 0; k < s.k; ++k)
    for (int64_t c = 0; c < s.c; ++c)
      w[k * s.c_parent + c] = static_cast<int8_t>(code(14, k * s.c + c, -128));
  auto* scale = problem->add<float>(static_cast<std::size_t>(s.k));
  for (int64_t k = 0; k < s.k; ++k) scale[k] = 0.00137f * static_cast<float>(k % 7 + 1);
  const float* bias = with_bias ? add_filled(problem.get(), the_case, s.k, 15) : nullptr;
  std::vector<double> expected;
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t k = 0; k < s.k; ++k) {
      int64_t sum = 0;
      for (int64_t c = 0; c < s.c; ++c) sum += x[n * s.c + c] * w[k * s.c_parent + c];
      float y =
          static_cast<float>(static_cast<double>(static_cast<float>(sum)) * static_cast<double>(scale[k]));
      if (bias) y = static_cast<float>(static_cast<double>(y) + static_cast<double>(bias[k]));
      expected.push_back(y);
    }
  float* y = problem->add<float>(static_cast<std::size_t>(s.n * s.k));
  problem->expected.push_back({.name = "y", .buffer = problem->last(), .values = std::move(expected)});
  problem->args = {x, w, bias, y, nullptr, scale};
  problem->workspace = &problem->args.workspace;
  return problem;
}

std::unique_ptr<Problem<LinearDgrad>> dgrad(const Case& the_case) {
  auto problem = std::make_unique<Problem<LinearDgrad>>();
  const auto s = problem->shape = the_case.shape();
  const float* g = add_filled(problem.get(), the_case, s.n * s.k, 21);
  const float* w = add_weight(problem.get(), the_case, 200);
  std::vector<double> expected(static_cast<std::size_t>(s.n * s.c), 0.0);
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t k = 0; k < s.k; ++k)
      for (int64_t c = 0; c < s.c; ++c)
        expected[static_cast<std::size_t>(n * s.c + c)] +=
            static_cast<double>(g[n * s.k + k]) * w[k * s.c_parent + c];
  float* dx = problem->add<float>(static_cast<std::size_t>(s.n * s.c));
  problem->expected.push_back({.name = "dx",
                               .buffer = problem->last(),
                               .values = std::move(expected),
                               .absolute = the_case.tolerance(s.k),
                               .relative = the_case.relative_tolerance()});
  problem->args = {g, w, dx, nullptr};
  problem->workspace = &problem->args.workspace;
  return problem;
}

std::unique_ptr<Problem<LinearWgrad>> wgrad(const Case& the_case, bool with_bias, bool accumulate) {
  auto problem = std::make_unique<Problem<LinearWgrad>>();
  const auto s = problem->shape = the_case.shape();
  const float* x = add_filled(problem.get(), the_case, s.n * s.c, 31);
  const float* g = add_filled(problem.get(), the_case, s.n * s.k, 32);

  // The parents hold gradients before the launch, also outside the slice.
  const std::size_t size = the_case.parent_size();
  const auto k_parent = static_cast<std::size_t>(the_case.k_parent ? the_case.k_parent : s.k);
  auto before = std::make_shared<std::vector<float>>(size + k_parent);
  the_case.fill(before->data(), static_cast<int64_t>(before->size()), 33);
  std::vector<double> dw_expected(before->begin(), before->begin() + static_cast<std::ptrdiff_t>(size));
  std::vector<double> dbias_expected(before->begin() + static_cast<std::ptrdiff_t>(size), before->end());
  for (int64_t k = 0; k < s.k; ++k) {
    double* row = dw_expected.data() + k * s.c_parent;
    double& bias = dbias_expected[static_cast<std::size_t>(k)];
    if (!accumulate) std::fill(row, row + s.c, 0.0), bias = 0;
    for (int64_t n = 0; n < s.n; ++n) {
      for (int64_t c = 0; c < s.c; ++c) row[c] += static_cast<double>(g[n * s.k + k]) * x[n * s.c + c];
      bias += g[n * s.k + k];
    }
  }
  float* dw = problem->add<float>(size);
  problem->expected.push_back({.name = "dw",
                               .buffer = problem->last(),
                               .values = std::move(dw_expected),
                               .absolute = the_case.tolerance(s.n),
                               .relative = the_case.relative_tolerance()});
  float* dbias = nullptr;
  if (with_bias) {
    dbias = problem->add<float>(k_parent);
    problem->expected.push_back({.name = "dbias",
                                 .buffer = problem->last(),
                                 .values = std::move(dbias_expected),
                                 .absolute = the_case.tolerance(s.n),
                                 .relative = the_case.relative_tolerance()});
  }
  problem->restore = [=] {
    for (std::size_t i = 0; i < size; ++i) {
      const auto k = static_cast<int64_t>(i) / s.c_parent, c = static_cast<int64_t>(i) % s.c_parent;
      if (accumulate || k >= s.k || c >= s.c) dw[i] = (*before)[i];
    }
    for (std::size_t k = 0; dbias && k < k_parent; ++k)
      if (accumulate || k >= static_cast<std::size_t>(s.k)) dbias[k] = (*before)[size + k];
  };
  problem->args = {x, g, dw, dbias, accumulate, nullptr};
  problem->workspace = &problem->args.workspace;
  return problem;
}

// n, c, k, c_parent, k_parent, exact
const Case small_cases[] = {
    {"1_1_1", 1, 1, 1},
    {"8_128_10", 8, 128, 10},
    {"5_96_10_slice_of_128", 5, 96, 10, 128},
    {"7_13_5_slice_of_20_9", 7, 13, 5, 20, 9},
    {"1_512_31", 1, 512, 31},
    {"64_64_65", 64, 64, 65},
    {"3_200_17_slice_of_256_20", 3, 200, 17, 256, 20},
    {"16_512_31_normal", 16, 512, 31, 0, 0, false},
    {"33_120_65_slice_of_128_normal", 33, 120, 65, 128, 0, false},
};
const Case large_cases[] = {
    {"digits_128_128_10", 128, 128, 10, 0, 0, false},
    {"resnet18_office31_64_512_31", 64, 512, 31, 0, 0, false},
    {"resnet50_officehome_64_1744_65_slice_of_2048", 64, 1744, 65, 2048, 0, false},
    {"resnet50_domainnet_64_2048_345", 64, 2048, 345, 0, 0, false},
};

}  // namespace

std::vector<Entry> linear_entries() {
  std::vector<Entry> list;
  for (const auto& c : small_cases) {
    const std::string name = c.name;
    list.push_back(entry<LinearForward>(name, [=] { return forward(c, true); }));
    list.push_back(entry<LinearForward>(name + "_no_bias", [=] { return forward(c, false); }));
    for (const bool bias : {true, false}) {
      const std::string suffix = bias ? "" : "_no_bias";
      list.push_back(entry<LinearForward>(name + "_u8" + suffix,
                                          [=] { return forward_codes<uint8_t>(c, RTFQ_U8, bias); }));
      list.push_back(entry<LinearForward>(name + "_s8" + suffix,
                                          [=] { return forward_codes<int8_t>(c, RTFQ_S8, bias); }));
    }
    list.push_back(entry<LinearDgrad>(name, [=] { return dgrad(c); }));
    list.push_back(entry<LinearWgrad>(name, [=] { return wgrad(c, true, false); }));
    list.push_back(entry<LinearWgrad>(name + "_add", [=] { return wgrad(c, true, true); }));
    list.push_back(entry<LinearWgrad>(name + "_no_bias", [=] { return wgrad(c, false, false); }));
  }
  for (const auto& c : large_cases) {
    list.push_back(entry<LinearForward>(
        c.name, [=] { return forward(c, true); }, true));
    list.push_back(entry<LinearForward>(
        c.name + std::string("_u8"), [=] { return forward_codes<uint8_t>(c, RTFQ_U8, true); }, true));
    list.push_back(entry<LinearDgrad>(
        c.name, [=] { return dgrad(c); }, true));
    list.push_back(entry<LinearWgrad>(
        c.name, [=] { return wgrad(c, true, true); }, true));
  }
  return list;
}

}  // namespace rtfq::kernels::catalog
