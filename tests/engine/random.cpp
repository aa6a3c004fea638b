#include "engine/random.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <set>

using namespace rtfq;

TEST_CASE("random: a stream is a function of seed, purpose and index") {
  const auto draw = [](uint64_t seed, Purpose purpose, uint64_t index, uint32_t sub) {
    Random random(seed, purpose, index, sub);
    std::vector<uint32_t> values;
    for (int i = 0; i < 9; ++i) values.push_back(random.integer());
    return values;
  };
  std::set<std::vector<uint32_t>> streams;
  for (uint64_t seed : {1u, 2u})
    for (Purpose purpose : {Purpose::order, Purpose::sampler})
      for (uint64_t index : {0u, 1u, 7u})
        for (uint32_t sub : {0u, 1u}) {
          CHECK(draw(seed, purpose, index, sub) == draw(seed, purpose, index, sub));
          CHECK(streams.insert(draw(seed, purpose, index, sub)).second);
        }
}

TEST_CASE("random: a permutation holds every index once and differs between epochs") {
  Random a(3, Purpose::order, 0), b(3, Purpose::order, 1);
  auto first = a.permutation(1000), second = b.permutation(1000);
  CHECK(first != second);
  std::sort(first.begin(), first.end());
  for (uint32_t i = 0; i < 1000; ++i) REQUIRE(first[i] == i);
}

TEST_CASE("random: moments of uniform, bounded and normal numbers") {
  Random random(11, Purpose::test);
  double sum = 0, squares = 0, uniform = 0;
  std::array<int, 5> counts{};
  constexpr int n = 200000;
  for (int i = 0; i < n; ++i) {
    const double x = random.normal();
    sum += x;
    squares += x * x;
    uniform += random.uniform();
    ++counts[random.below(5)];
  }
  CHECK(std::abs(sum / n) < 0.01);
  CHECK(std::abs(squares / n - 1) < 0.02);
  CHECK(std::abs(uniform / n - 0.5) < 0.005);
  for (int count : counts) CHECK(std::abs(count - n / 5) < 1000);
  CHECK_THROWS_AS(random.below(0), std::invalid_argument);
}
