// Running statistics in f64 and additions in f32: the formulas of the header, each result rounded once.
#include "kernels/running.h"

#include <algorithm>

#include "kernels/catalog/problem_instance.h"

namespace rtfq::kernels::catalog {
namespace {

double rounded(double x) {
  return static_cast<double>(static_cast<float>(x));
}

/// A buffer that launches update, restored before each verification.
float* add_update(auto* problem, std::size_t count, uint64_t seed,
                  std::vector<std::function<void()>>* restore) {
  const auto first = std::make_shared<std::vector<float>>(count);
  fill_normal(first->data(), count, seed, 2.0f, 0.5f);
  float* data = problem->template add<float>(count);
  restore->push_back([first, data] { std::copy(first->begin(), first->end(), data); });
  restore->back()();
  return data;
}

void restore_all(auto* problem, std::vector<std::function<void()>> restore) {
  problem->restore = [restore = std::move(restore)] {
    for (const auto& one : restore) one();
  };
}

Entry running(const std::string& name, int64_t c, double weight, double unbiased, double between) {
  const auto build = [=] {
    auto problem = std::make_unique<Problem<RunningStatistics>>();
    problem->shape = {c};
    const auto n = static_cast<std::size_t>(c);
    std::vector<std::function<void()>> restore;
    float* mean = add_update(problem.get(), n, 61, &restore);
    const std::size_t mean_buffer = problem->last();
    float* variance = add_update(problem.get(), n, 62, &restore);
    const std::size_t variance_buffer = problem->last();
    float* batch_mean = problem->add<float>(n);
    fill_normal(batch_mean, n, 63);
    float* batch_variance = problem->add<float>(n);
    fill_normal(batch_variance, n, 64, 3.0f, 0.5f);
    problem->args = {mean, variance, batch_mean, batch_variance, weight, unbiased, between};
    std::vector<double> means, variances;
    for (std::size_t i = 0; i < n; ++i) {
      const double shift = static_cast<double>(batch_mean[i]) - static_cast<double>(mean[i]);
      variances.push_back(rounded((1 - weight) * static_cast<double>(variance[i]) +
                                  weight * unbiased * static_cast<double>(batch_variance[i]) +
                                  between * shift * shift));
      means.push_back(rounded(static_cast<double>(mean[i]) + weight * shift));
    }
    problem->expected.push_back({"mean", mean_buffer, RTFQ_F32, std::move(means)});
    problem->expected.push_back({"variance", variance_buffer, RTFQ_F32, std::move(variances)});
    restore_all(problem.get(), std::move(restore));
    return problem;
  };
  return entry<RunningStatistics>(name, build);
}

Entry accumulate(const std::string& name, const std::vector<int64_t>& sizes) {
  const auto build = [=] {
    auto problem = std::make_unique<Problem<Accumulate>>();
    const auto tensors = problem->table<AccumulateTensor>();
    std::vector<std::function<void()>> restore;
    for (std::size_t t = 0; t < sizes.size(); ++t) {
      const auto n = static_cast<std::size_t>(sizes[t]);
      problem->shape.total += sizes[t];
      float* into = add_update(problem.get(), n, 65 + 2 * t, &restore);
      const std::size_t buffer = problem->last();
      float* values = problem->add<float>(n);
      fill_normal(values, n, 66 + 2 * t);
      tensors->push_back({into, values, sizes[t]});
      std::vector<double> sums;
      for (std::size_t i = 0; i < n; ++i)
        sums.push_back(rounded(static_cast<double>(into[i]) + static_cast<double>(values[i])));
      problem->expected.push_back(
          {std::string("into[").append(std::to_string(t)).append("]"), buffer, RTFQ_F32, std::move(sums)});
    }
    problem->args.tensors = *tensors;
    restore_all(problem.get(), std::move(restore));
    return problem;
  };
  return entry<Accumulate>(name, build);
}

}  // namespace

std::vector<Entry> running_entries() {
  std::vector<Entry> list;
  list.push_back(running("train_64", 64, 0.1, 32.0 / 31.0, 0));
  list.push_back(running("first_7", 7, 1.0, 1.5, 0));
  list.push_back(running("calibrate_300", 300, 0.25, 1.0, 0.1875));
  list.push_back(accumulate("one_64", {64}));
  list.push_back(accumulate("pair_513", {513, 513}));
  std::vector<int64_t> many;
  for (int64_t t = 0; t < 70; ++t) many.push_back(1 + t * 37 % 1500);
  list.push_back(accumulate("many", many));
  return list;
}

}  // namespace rtfq::kernels::catalog
