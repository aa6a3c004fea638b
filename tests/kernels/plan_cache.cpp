// The cache behind the kernels that call a library.
#include "kernels/cpu/plan_cache.h"

#include <catch2/catch.hpp>
#include <stdexcept>
#include <vector>

#include "tests/kernels/launch.h"

using namespace rtfq::kernels;
using rtfq::test::Threads;

TEST_CASE("plan cache: made once a key, the one unused for longest goes first") {
  PlanCache<int> cache(3);
  int made = 0;
  const auto get = [&](int key) { return *cache.get({key}, [&] { return ++made, key * 10; }); };
  CHECK(get(1) == 10);
  CHECK(get(2) == 20);
  CHECK(get(3) == 30);
  CHECK(get(1) == 10);
  CHECK(made == 3);
  CHECK(get(4) == 40);  // 2 goes
  CHECK(cache.size() == 3);
  CHECK(get(1) == 10);
  CHECK(get(3) == 30);
  CHECK(made == 4);
  CHECK(get(2) == 20);
  CHECK(made == 5);
}

TEST_CASE("plan cache: an evicted plan lives as long as its user") {
  PlanCache<std::vector<int>> cache(1);
  const auto held = cache.get({1}, [] { return std::vector<int>(100, 7); });
  cache.get({2}, [] { return std::vector<int>(100, 8); });
  CHECK(cache.size() == 1);
  CHECK(held->at(99) == 7);
}

TEST_CASE("plan cache: a failure to make a plan leaves nothing behind") {
  PlanCache<int> cache;
  CHECK_THROWS_AS(cache.get({1}, []() -> int { throw std::runtime_error("no"); }), std::runtime_error);
  CHECK(cache.size() == 0);
  CHECK(*cache.get({1}, [] { return 5; }) == 5);
}

TEST_CASE("plan cache: plans are made under one thread count, the caller's is put back") {
  PlanCache<int> cache;
  const int made_for = *cache.get({0}, [] { return omp_get_max_threads(); });
  const Threads threads(made_for + 3);
  CHECK(*cache.get({1}, [] { return omp_get_max_threads(); }) == made_for);
  CHECK(omp_get_max_threads() == made_for + 3);
}
