// Medians, their intervals, and what pairs of timings say.
#include "tools/bench/statistics.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "tools/bench/verdict.h"

using namespace rtfq::lab;

TEST_CASE("statistics: quantiles are linear between values") {
  CHECK(quantile({3, 1, 2}, 0.5) == 2);
  CHECK(quantile({4, 1, 2, 3}, 0.5) == 2.5);
  CHECK(quantile({1, 2, 3, 4, 5}, 0.25) == 2);
  CHECK(quantile({1, 2}, 1) == 2);
  CHECK(std::isnan(quantile({}, 0.5)));
  CHECK(spread({1, 2, 3, 4, 5}) == Approx(2.0 / 3));
}

TEST_CASE("statistics: the median's interval is that of the sign test") {
  std::vector<double> values;
  for (int i = 1; i <= 20; ++i) values.push_back(i);
  // Binomial(20, 1/2): P(B <= 3) = 0.00129, P(B <= 4) = 0.0059, so that 99 % needs the fourth from each end.
  CHECK(median_interval(values, 0.99).low == 4);
  CHECK(median_interval(values, 0.99).high == 17);
  // P(B <= 5) = 0.0207: 95 % has the sixth.
  CHECK(median_interval(values, 0.95).low == 6);
  CHECK(median_interval(values, 0.95).high == 15);
  // Seven values cannot: 2/2^7 > 1 %. Eight can.
  CHECK(std::isinf(median_interval({1, 2, 3, 4, 5, 6, 7}, 0.99).low));
  CHECK(median_interval({1, 2, 3, 4, 5, 6, 7, 8}, 0.99).low == 1);
}

TEST_CASE("statistics: equal kernels are called different no more often than stated, slower ones are found") {
  // Times on a busy machine: a level that wanders, spikes, both sides alike.
  std::mt19937 random(7);
  std::lognormal_distribution<double> noise(0, 0.1);
  std::uniform_real_distribution<double> uniform(0, 1);
  const auto measure = [&](double factor) {
    std::vector<Pair> pairs;
    double level = 1;
    for (int i = 0; i < 40; ++i) {
      level *= std::exp(0.2 * (uniform(random) - 0.5));
      const auto one = [&](double f) { return f * level * noise(random) * (uniform(random) < 0.1 ? 5 : 1); };
      const bool a_first = uniform(random) < 0.5;
      Pair pair;
      // The second of a pair is always slower, which must favour neither.
      pair.a = one(a_first ? 1 : 1.3);
      pair.b = one((a_first ? 1.3 : 1) * factor);
      pairs.push_back(pair);
    }
    return judge(pairs, 0.99);
  };
  int differ = 0, found = 0;
  for (int i = 0; i < 1000; ++i) {
    differ += !measure(1).no_difference();
    const Verdict slower = measure(1.5);
    found += !slower.no_difference() && slower.ratio < 1;
  }
  CHECK(differ <= 20);  // 1 % and the luck of a thousand
  CHECK(found >= 900);
}
