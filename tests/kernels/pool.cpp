// Pooling's shapes, costs and determinism. Results are compared in catalog.cpp.
#include "kernels/pool.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/kernels/launch.h"

using namespace rtfq::kernels;
using namespace rtfq::test;
using Catch::Matchers::Contains;

TEST_CASE("pool: output sizes and impossible shapes") {
  const auto stem = make_pool_shape(2, 112, 55, 64, 3, 2, 1);
  CHECK(output_height(stem) == 56);
  CHECK(output_width(stem) == 28);
  CHECK_THROWS_WITH(make_pool_shape(0, 8, 8, 8, 3, 2, 1),
                    Contains("[pool] expected a positive number of images, got 0"));
  CHECK_THROWS_WITH(make_pool_shape(1, 0, 8, 8, 3, 2, 1), Contains("input height"));
  CHECK_THROWS_WITH(make_pool_shape(1, 8, 0, 8, 3, 2, 1), Contains("input width"));
  CHECK_THROWS_WITH(make_pool_shape(1, 8, 8, 0, 3, 2, 1), Contains("channels"));
  CHECK_THROWS_WITH(make_pool_shape(1, 8, 8, 8, 0, 2, 1), Contains("window"));
  CHECK_THROWS_WITH(make_pool_shape(1, 8, 8, 8, 3, 0, 1), Contains("stride"));
  CHECK_THROWS_WITH(make_pool_shape(1, 8, 8, 8, 3, 2, 3),
                    Contains("padding from 0 to below the window of 3, got 3"));
  CHECK_THROWS_WITH(make_pool_shape(1, 8, 8, 8, 3, 2, -1), Contains("got -1"));
  CHECK_THROWS_WITH(make_pool_shape(1, 40, 40, 8, 17, 2, 0), Contains("window of at most 16, got 17"));
  CHECK_NOTHROW(make_pool_shape(1, 40, 40, 8, 16, 2, 0));
  CHECK_THROWS_WITH(make_pool_shape(1, 2, 8, 8, 5, 1, 1), Contains("at least 5x5 with padding, got 4x10"));
  CHECK_THROWS_WITH(make_pool_shape(1, 8, 8, 8, 3, 2, 1, RTFQ_S8),
                    Contains("[pool] expected f32 or bf16 elements or u8 codes, got s8"));
}

TEST_CASE("pool: declared costs") {
  const auto s = make_pool_shape(2, 8, 8, 16, 3, 2, 1);
  const double in = 2 * 8 * 8 * 16, out = 2 * 4 * 4 * 16;
  CHECK(cost(MaxPoolForward{}, s).bytes == 4 * in + 5 * out);
  CHECK(cost(MaxPoolForward{}, s).operations == 9 * out);
  CHECK(cost(MaxPoolBackward{}, s).bytes == 4 * in + 5 * out);
  const auto half = make_pool_shape(2, 8, 8, 16, 3, 2, 1, RTFQ_BF16);
  CHECK(cost(MaxPoolForward{}, half).bytes == 2 * in + 3 * out);
  CHECK(cost(AveragePoolBackward{}, half).bytes == 2 * (in + 2 * 16));
  CHECK(cost(AveragePoolForward{}, s).bytes == 4 * (in + 2 * 16));
  CHECK(cost(AveragePoolForward{}, s).operations == in);
  CHECK(cost(AveragePoolBackward{}, s).bytes == 4 * (in + 2 * 16));
}

TEST_CASE("pool: no implementation depends on the number of threads") {
  const auto s = make_pool_shape(3, 11, 9, 43, 3, 2, 1);
  const auto x = normal(s.n * s.h * s.w * s.c, 1);
  const auto outputs = s.n * output_height(s) * output_width(s) * s.c;
  const auto g = normal(outputs, 2);
  for (const char* name : {"simd", "naive"}) {
    std::vector<uint8_t> index(static_cast<std::size_t>(outputs));
    CHECK(independent_of_threads([&] {
      std::vector<float> y(index.size());
      implementation<MaxPoolForward>(name).launch(s, {x.data(), y.data(), index.data()}, {});
      return y;
    }));
    CHECK(independent_of_threads([&] {
      std::vector<float> dx(x.size());
      implementation<MaxPoolBackward>(name).launch(s, {g.data(), index.data(), dx.data()}, {});
      return dx;
    }));
    CHECK(independent_of_threads([&] {
      std::vector<float> y(static_cast<std::size_t>(s.n * s.c));
      implementation<AveragePoolForward>(name).launch(s, {x.data(), y.data()}, {});
      return y;
    }));
  }
}

TEST_CASE("average pool: partial sums keep the digits of a large map") {
  // 2^20 ones next to a first value of 2^24: one f32 chain would lose every one of them.
  const auto s = make_pool_shape(1, 1024, 1024, 1, 1, 1, 0);
  std::vector<float> x(1024 * 1024, 1.0f);
  x[0] = 0x1p24f;
  const double expected = (0x1p24 + 1024.0 * 1024 - 1) / (1024.0 * 1024);
  for (const char* name : {"simd", "naive"}) {
    float y = NAN;
    implementation<AveragePoolForward>(name).launch(s, {x.data(), &y}, {});
    INFO(name << " " << y);
    CHECK(std::abs(y - expected) < 0.3);  // a single chain gives 16 instead of 17
  }
}
