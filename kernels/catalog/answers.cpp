// What is made of answers: ties between classes are common in the data, so that "the first arg max" is
// tested.
#include "kernels/answers.h"

#include <algorithm>

#include "kernels/catalog/problem_instance.h"

namespace rtfq::kernels::catalog {
namespace {

float* add_filled(auto* problem, std::size_t count, uint64_t seed, bool exact) {
  float* x = problem->template add<float>(count);
  exact ? fill_exact(x, count, seed, 3, 0.25f) : fill_normal(x, count, seed);
  return x;
}

std::size_t first_of_greatest(const float* row, int64_t k) {
  std::size_t best = 0;
  for (std::size_t j = 1; j < static_cast<std::size_t>(k); ++j)
    if (row[j] > row[best]) best = j;
  return best;
}

std::string name_of(int64_t n, int64_t k) {
  return std::to_string(n) + "x" + std::to_string(k);
}

Entry pseudo_labels(int64_t n, int64_t k) {
  const auto build = [=] {
    auto problem = std::make_unique<Problem<PseudoLabels>>();
    problem->shape = make_logits_shape(n, k);
    const float* p = add_filled(problem.get(), static_cast<std::size_t>(n * k), 11, true);
    auto* labels = problem->template add<int32_t>(static_cast<std::size_t>(n));
    std::vector<double> expected, masks;
    for (int64_t i = 0; i < n; ++i) {
      const std::size_t best = first_of_greatest(p + i * k, k);
      expected.push_back(static_cast<double>(best));
      masks.push_back(static_cast<double>(p[i * k + static_cast<int64_t>(best)]) > 0.5 ? 1 : 0);
    }
    problem->expected.push_back({"labels", problem->last(), RTFQ_S32, std::move(expected)});
    auto* mask = problem->template add<float>(static_cast<std::size_t>(n));
    problem->expected.push_back({"mask", problem->last(), RTFQ_F32, std::move(masks)});
    problem->args = {p, 0.5, labels, mask};
    return problem;
  };
  return entry<PseudoLabels>(name_of(n, k), build);
}

Entry count_right(int64_t n, int64_t k) {
  const auto build = [=] {
    auto problem = std::make_unique<Problem<CountRight>>();
    problem->shape = make_logits_shape(n, k);
    const float* z = add_filled(problem.get(), static_cast<std::size_t>(n * k), 12, true);
    auto* labels = problem->template add<int32_t>(static_cast<std::size_t>(n));
    double right = 0;
    for (int64_t i = 0; i < n; ++i) {
      const std::size_t best = first_of_greatest(z + i * k, k);
      labels[i] = static_cast<int32_t>(i % 3 ? best : (best + 1) % static_cast<std::size_t>(k));
      right += i % 3 ? 1 : 0;
    }
    problem->args = {z, labels, problem->template add<float>(1)};
    problem->expected.push_back({"right", problem->last(), RTFQ_F32, {right}});
    return problem;
  };
  return entry<CountRight>(name_of(n, k), build);
}

Entry class_sums(int64_t n, int64_t k) {
  const auto build = [=] {
    auto problem = std::make_unique<Problem<ClassSums>>();
    problem->shape = make_logits_shape(n, k);
    const float* x = add_filled(problem.get(), static_cast<std::size_t>(n * k), 13, true);
    std::vector<double> sums(static_cast<std::size_t>(k));
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < k; ++j) sums[static_cast<std::size_t>(j)] += static_cast<double>(x[i * k + j]);
    problem->args = {x, problem->template add<float>(static_cast<std::size_t>(k))};
    problem->expected.push_back({"sums", problem->last(), RTFQ_F32, std::move(sums)});
    return problem;
  };
  return entry<ClassSums>(name_of(n, k), build);
}

Entry mean_of(int64_t count, std::size_t tensors) {
  const auto build = [=] {
    auto problem = std::make_unique<Problem<MeanOf>>();
    problem->shape = {count};
    const auto n = static_cast<std::size_t>(count);
    const auto all = problem->table<const float*>();
    std::vector<double> sums(n);
    for (std::size_t t = 0; t < tensors; ++t) {
      const float* x = add_filled(problem.get(), n, 14 + t, false);
      all->push_back(x);
      for (std::size_t i = 0; i < n; ++i)  // each quotient and each sum is rounded
        sums[i] = static_cast<double>(static_cast<float>(sums[i]) + x[i] / static_cast<float>(tensors));
    }
    problem->args = {*all, problem->add<float>(n)};
    problem->expected.push_back({"y", problem->last(), RTFQ_F32, std::move(sums)});
    return problem;
  };
  return entry<MeanOf>(std::to_string(tensors) + "_of_" + std::to_string(count), build);
}

Entry blend(int64_t count, double keep, double divisor, bool in_place) {
  const auto build = [=] {
    auto problem = std::make_unique<Problem<Blend>>();
    problem->shape = {count};
    const auto n = static_cast<std::size_t>(count);
    float* a = add_filled(problem.get(), n, 15, false);
    const std::size_t a_buffer = problem->last();
    const float* b = add_filled(problem.get(), n, 16, false);
    std::vector<double> values;
    for (std::size_t i = 0; i < n; ++i)
      values.push_back(static_cast<double>(static_cast<float>(
          keep * static_cast<double>(a[i]) + (1 - keep) * (static_cast<double>(b[i]) / divisor))));
    float* y = in_place ? a : problem->add<float>(n);
    problem->args = {a, b, keep, divisor, y};
    problem->expected.push_back({"y", in_place ? a_buffer : problem->last(), RTFQ_F32, std::move(values)});
    if (in_place) {
      const auto first = std::make_shared<std::vector<float>>(a, a + n);
      problem->restore = [first, a] { std::copy(first->begin(), first->end(), a); };
    }
    return problem;
  };
  return entry<Blend>(std::to_string(count) + (in_place ? "_in_place" : ""), build);
}

}  // namespace

std::vector<Entry> answers_entries() {
  std::vector<Entry> list;
  for (const auto& [n, k] : {std::pair<int64_t, int64_t>{1, 2}, {32, 10}, {300, 31}, {5, 345}}) {
    list.push_back(pseudo_labels(n, k));
    list.push_back(count_right(n, k));
    list.push_back(class_sums(n, k));
  }
  for (const std::size_t tensors : {std::size_t{1}, std::size_t{3}, std::size_t{14}, std::size_t{70}})
    list.push_back(mean_of(320, tensors));
  for (const bool in_place : {false, true}) {
    list.push_back(blend(10, 0.99, 64, in_place));
    list.push_back(blend(345, 0.5, 1, in_place));
  }
  return list;
}

}  // namespace rtfq::kernels::catalog
