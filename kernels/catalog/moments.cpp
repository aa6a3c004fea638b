// Statistics as sums over ranks, and back: the formulas of the header in f64. Counts and means are small
// multiples of powers of two, so that every product is exact; a division is not, and a variance is a
// difference.
#include "kernels/moments.h"

#include <algorithm>
#include <cmath>

#include "kernels/catalog/problem_instance.h"

namespace rtfq::kernels::catalog {
namespace {

constexpr double counts_of_case[] = {100, 37, 4096};

/// Multiples of 1/64 below 16.
void fill_exact(float* values, std::size_t count, uint64_t seed, float least) {
  std::vector<float> drawn(count);
  fill_normal(drawn.data(), count, seed);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = std::max(least, std::clamp(std::round(drawn[i] * 128) / 64, -15.0f, 15.0f));
}

Entry moments(const std::string& name, int64_t segments, int64_t c) {
  const auto build = [=] {
    auto problem = std::make_unique<Problem<BatchMoments>>();
    problem->shape = {segments, c};
    const auto n = static_cast<std::size_t>(segments * c);
    float* mean = problem->add<float>(n);
    fill_exact(mean, n, 71, -15);
    float* variance = problem->add<float>(n);
    fill_exact(variance, n, 72, 0);
    problem->args = {mean, variance, {}, problem->add<double>(2 * n)};
    std::vector<double> sums(2 * n);
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t segment = i / static_cast<std::size_t>(c);
      const double count = counts_of_case[segment], m = static_cast<double>(mean[i]);
      problem->args.counts[segment] = count;
      sums[i] = count * m;
      sums[n + i] = count * (static_cast<double>(variance[i]) + m * m);
    }
    problem->expected.push_back({"sums", problem->last(), RTFQ_F32, std::move(sums), 0, 0, true});
    return problem;
  };
  return entry<BatchMoments>(name, build);
}

Entry joint(const std::string& name, int64_t segments, int64_t c) {
  const auto build = [=] {
    auto problem = std::make_unique<Problem<JointStatistics>>();
    problem->shape = {segments, c};
    const auto n = static_cast<std::size_t>(segments * c);
    std::vector<float> mean(n), variance(n);
    fill_exact(mean.data(), n, 73, -15);
    fill_exact(variance.data(), n, 74, 0);
    double* sums = problem->add<double>(2 * n);
    for (std::size_t i = 0; i < n; ++i) {
      // A third of the channels do not vary: nothing may come out negative there.
      if (i % 3 == 0) variance[i] = 0;
      const std::size_t segment = i / static_cast<std::size_t>(c);
      const double count = counts_of_case[segment], m = static_cast<double>(mean[i]);
      problem->args.counts[segment] = count;
      sums[i] = count * m;
      sums[n + i] = count * (static_cast<double>(variance[i]) + m * m) * (i % 6 == 3 ? 1 - 0x1p-40 : 1);
      if (i % 6 == 3) variance[i] = 0;
    }
    problem->args.sums = sums;
    problem->args.mean = problem->add<float>(n);
    const std::size_t mean_buffer = problem->last();
    problem->args.variance = problem->add<float>(n);
    // Exact products over a count give back what they were made of.
    problem->expected.push_back(
        {"mean", mean_buffer, RTFQ_F32, std::vector<double>(mean.begin(), mean.end())});
    problem->expected.push_back(
        {"variance", problem->last(), RTFQ_F32, std::vector<double>(variance.begin(), variance.end())});
    return problem;
  };
  return entry<JointStatistics>(name, build);
}

}  // namespace

std::vector<Entry> moments_entries() {
  std::vector<Entry> list;
  list.push_back(moments("pair_64", 2, 64));
  list.push_back(moments("three_513", 3, 513));
  list.push_back(moments("one_7", 1, 7));
  list.push_back(joint("pair_64", 2, 64));
  list.push_back(joint("three_513", 3, 513));
  list.push_back(joint("one_7", 1, 7));
  return list;
}

}  // namespace rtfq::kernels::catalog
