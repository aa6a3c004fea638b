// The optimizer beyond the catalog: step sizes stay positive whatever happens, work is shared out completely,
// sums do not depend on threads.
#include "kernels/optimizer.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "tests/kernels/launch.h"

using namespace rtfq::kernels;
using namespace rtfq::test;

namespace {

/// Tensors of the given sizes on shared arrays.
struct Parameters {
  explicit Parameters(const std::vector<int64_t>& sizes, bool positive = false) {
    for (const int64_t n : sizes) total += n;
    value = normal(total, 1);
    momentum = normal(total, 2);
    gradient = normal(total, 3);
    if (positive)
      for (float& v : value) v = std::exp(v);
    int64_t at = 0;
    for (const int64_t n : sizes) {
      tensors.push_back(
          {value.data() + at, momentum.data() + at, gradient.data() + at, n, 0.05f, 1e-3f, positive});
      averages.push_back({momentum.data() + at, value.data() + at, n});
      at += n;
    }
  }
  Parameters(const Parameters&) = delete;
  Parameters& operator=(const Parameters&) = delete;

  SgdArgs args() const { return {tensors, 0.9f, 0.5f, 0.1f, true}; }

  int64_t total = 0;
  std::vector<float> value, momentum, gradient;
  std::vector<SgdTensor> tensors;
  std::vector<AverageTensor> averages;
};

/// Splits that fall on, before and after tensor ends, with empty tensors in between.
std::vector<std::vector<int64_t>> layouts() {
  std::vector<int64_t> tiny(40001, 1);
  return {{0, 100000, 0}, {1, 99999, 3, 0, 50000}, {33333, 33333, 33334}, tiny, {5}, {}};
}

}  // namespace

TEST_CASE("optimizer: bits do not depend on the number of threads or the implementation") {
  for (const auto& sizes : layouts())
    for (const bool positive : {false, true}) {
      const auto sgd = [&](const char* name) {
        Parameters p(sizes, positive);
        implementation<Sgd>(name).launch({p.total}, p.args(), {});
        auto all = p.value;
        all.insert(all.end(), p.momentum.begin(), p.momentum.end());
        all.insert(all.end(), p.gradient.begin(), p.gradient.end());
        return all;
      };
      CHECK(independent_of_threads([&] { return sgd("avx2"); }));
      CHECK(same_bits(sgd("avx2"), sgd("naive")));
      const auto average = [&](const char* name) {
        Parameters p(sizes);
        implementation<MovingAverage>(name).launch({p.total}, {p.averages, 0.6561f}, {});
        return p.momentum;
      };
      CHECK(independent_of_threads([&] { return average("avx2"); }));
      CHECK(same_bits(average("avx2"), average("naive")));
      CHECK(independent_of_threads([&] {
        const Parameters p(sizes);
        std::vector<double> out(1, -1);
        implementation<SquaredNorm>("avx2").launch({p.total}, {p.tensors, out.data()}, {});
        return out;
      }));
    }
}

TEST_CASE("optimizer: step sizes stay positive") {
  constexpr float infinity = std::numeric_limits<float>::infinity(), least = 0x1p-60f;
  const float limit = 0.1f;
  for (const char* name : {"avx2", "naive"})
    for (const float start : {least, 1e-10f, 0.05f, 3.0f, 1e10f})
      for (const float gradient : {0.0f, 1e-20f, -1e-20f, 1.0f, -1.0f, 1e30f, -1e30f, infinity, -infinity}) {
        float value = start, momentum = 0, g = gradient;
        const std::vector<SgdTensor> tensors{{&value, &momentum, &g, 1, 1e-3f, 0, true}};
        for (int step = 0; step < 200; ++step) {
          const float before = value;
          g = gradient;
          momentum = 0;
          implementation<Sgd>(name).launch({1}, {tensors, 0.9f, 1, limit, false}, {});
          CHECK(value >= least);
          CHECK(std::isfinite(value));
          CHECK(std::abs(std::log(value / before)) <= static_cast<double>(limit) * (1 + 1e-6));
          CHECK(g == 0);
        }
        // Where one change shows in f32, it went against the gradient.
        if (gradient > 0.5f && start <= 3) CHECK((start == least ? value == least : value < start));
        if (gradient < -0.5f && start <= 3) CHECK(value > start);
      }
}

TEST_CASE("optimizer: a small step of a step size is the plain update") {
  for (const char* name : {"avx2", "naive"}) {
    float value[2] = {0.5f, 0.5f}, momentum[2] = {}, g[2] = {0.25f, 0.25f};
    const std::vector<SgdTensor> tensors{{value, momentum, g, 1, 1e-4f, 0, true},
                                         {value + 1, momentum + 1, g + 1, 1, 1e-4f, 0, false}};
    implementation<Sgd>(name).launch({2}, {tensors, 0.9f, 1, 0.1f, true}, {});
    CHECK(value[0] == Approx(value[1]).epsilon(1e-8));
    CHECK(value[0] < 0.5f);
    CHECK(momentum[0] == momentum[1]);
  }
}

TEST_CASE("optimizer: a NaN is not hidden") {
  for (const char* name : {"avx2", "naive"})
    for (const bool positive : {false, true}) {
      Parameters p({20}, positive);
      p.gradient[3] = std::nanf("");
      double norm = 0;
      implementation<SquaredNorm>(name).launch({20}, {p.tensors, &norm}, {});
      CHECK(std::isnan(norm));
      implementation<Sgd>(name).launch({20}, p.args(), {});
      for (std::size_t i = 0; i < 20; ++i) CHECK(std::isnan(p.value[i]) == (i == 3));
    }
}

TEST_CASE("optimizer: nothing to do") {
  for (const char* name : {"avx2", "naive"}) {
    double norm = -1;
    implementation<Sgd>(name).launch({0}, {}, {});
    implementation<MovingAverage>(name).launch({0}, {}, {});
    implementation<SquaredNorm>(name).launch({0}, {{}, &norm}, {});
    CHECK(norm == 0);
  }
}

TEST_CASE("optimizer: momentum over several steps") {
  // Constant gradient 1, rate 1, momentum 1/2: m = 1, 3/2, 7/4; Nesterov's direction is 1 + m/2.
  for (const char* name : {"avx2", "naive"}) {
    float value = 0, momentum = 0, g = 0;
    const std::vector<SgdTensor> tensors{{&value, &momentum, &g, 1, 1, 0, false}};
    float expected = 0, m = 0;
    for (int step = 0; step < 3; ++step) {
      g = 2;
      implementation<Sgd>(name).launch({1}, {tensors, 0.5f, 0.5f, 1, true}, {});
      m = 0.5f * m + 1;
      expected -= 1 + 0.5f * m;
      CHECK(value == expected);
      CHECK(momentum == m);
      CHECK(g == 0);
    }
    CHECK(value == -(1.5f + 1.75f + 1.875f));
  }
}

TEST_CASE("optimizer: costs") {
  CHECK(cost(Sgd{}, {10}).bytes == 240);
  CHECK(cost(MovingAverage{}, {10}).bytes == 120);
  CHECK(cost(SquaredNorm{}, {10}).bytes == 40);
}
