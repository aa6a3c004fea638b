// ReLU's and addition's shapes, costs and determinism. Results are compared in catalog.cpp.
#include "kernels/elementwise.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "tests/kernels/launch.h"

using namespace rtfq::kernels;
using namespace rtfq::test;
using Catch::Matchers::Contains;

TEST_CASE("elementwise: shapes") {
  CHECK(make_elementwise_shape(5).count == 5);
  CHECK(make_elementwise_shape(0).count == 0);
  CHECK_THROWS_WITH(make_elementwise_shape(-1),
                    Contains("[elementwise] expected a number of elements, got -1"));
  CHECK_THROWS_AS(make_elementwise_shape(std::numeric_limits<int64_t>::min()), std::invalid_argument);
}

TEST_CASE("elementwise: types of shapes") {
  CHECK(make_elementwise_shape(5, RTFQ_BF16).type == RTFQ_BF16);
  CHECK_THROWS_WITH(make_elementwise_shape(5, RTFQ_U8),
                    Contains("[elementwise] expected f32 or bf16") && Contains("u8"));
  CHECK(make_convert_shape(5, RTFQ_S8, RTFQ_BF16).from == RTFQ_S8);
  CHECK_THROWS_WITH(make_convert_shape(-1, RTFQ_S8, RTFQ_BF16), Contains("[convert]") && Contains("got -1"));
  CHECK_THROWS_WITH(make_convert_shape(5, RTFQ_F32, RTFQ_U8), Contains("f32 to u8: codes come from"));
  CHECK_THROWS_AS(make_convert_shape(5, RTFQ_F16, RTFQ_F32), std::invalid_argument);
}

TEST_CASE("elementwise: declared costs, past 32 bits") {
  const auto s = make_elementwise_shape(int64_t{1} << 33);
  const double n = 0x1p33;
  CHECK(cost(ReluForward{}, s).bytes == 8 * n);
  CHECK(cost(ReluBackward{}, s).bytes == 12 * n);
  CHECK(cost(Add{}, s).bytes == 12 * n);
  const auto half = make_elementwise_shape(int64_t{1} << 33, RTFQ_BF16);
  CHECK(cost(ReluForward{}, half).bytes == 4 * n);
  CHECK(cost(Add{}, half).bytes == 6 * n);
  CHECK(cost(Convert{}, make_convert_shape(int64_t{1} << 33, RTFQ_U8, RTFQ_BF16)).bytes == 3 * n);
  CHECK(cost(Convert{}, make_convert_shape(int64_t{1} << 33, RTFQ_F32, RTFQ_BF16)).bytes == 6 * n);
  for (const Cost& c : {cost(ReluForward{}, s), cost(ReluBackward{}, s), cost(Add{}, s)})
    CHECK(c.operations == n);
}

TEST_CASE("elementwise: other types are refused by name") {
  auto s = make_elementwise_shape(8);
  s.type = RTFQ_F16;
  CHECK_THROWS_WITH(choose<ReluForward>(Backend::cpu, s), Contains("[relu.forward]") && Contains("f32"));
  CHECK_THROWS_AS(choose<ReluBackward>(Backend::cpu, s), std::runtime_error);
  CHECK_THROWS_AS(choose<Add>(Backend::cpu, s), std::runtime_error);
}

TEST_CASE("elementwise: no elements, nothing touched") {
  const auto s = make_elementwise_shape(0);
  float x = 3, y = 7;
  for (const char* name : runnable_implementations()) {
    implementation<ReluForward>(name).launch(s, {&x, &y}, {});
    implementation<ReluBackward>(name).launch(s, {&x, &x, &y}, {});
    implementation<Add>(name).launch(s, {&x, &x, &y}, {});
    CHECK(y == 7);
  }
}

TEST_CASE("elementwise: no implementation depends on the number of threads") {
  const auto s = make_elementwise_shape(150001);
  const auto x = normal(s.count, 1), g = normal(s.count, 2);
  for (const char* name : runnable_implementations()) {
    const auto check = [&](auto&& launch) {
      CHECK(independent_of_threads([&] {
        std::vector<float> y(x.size());
        launch(y.data());
        return y;
      }));
    };
    check([&](float* y) { implementation<ReluForward>(name).launch(s, {x.data(), y}, {}); });
    check([&](float* y) { implementation<ReluBackward>(name).launch(s, {g.data(), x.data(), y}, {}); });
    check([&](float* y) { implementation<Add>(name).launch(s, {x.data(), g.data(), y}, {}); });
  }
}

TEST_CASE("elementwise: ReLU's gradient at the bend and beside it") {
  // The catalog's -0 equals 0 and a masked NaN equals any: here it is told apart.
  const auto s = make_elementwise_shape(9);
  const std::vector<float> y{0.0f, -0.0f, std::numeric_limits<float>::denorm_min(), NAN, 1, 0, 0, 0, 0};
  const std::vector<float> g{5, 6, 7, 8, NAN, NAN, INFINITY, -1, -INFINITY};
  for (const char* name : runnable_implementations()) {
    std::vector<float> dx(9, -1.0f);
    implementation<ReluBackward>(name).launch(s, {g.data(), y.data(), dx.data()}, {});
    CHECK(dx[2] == 7);
    CHECK(std::isnan(dx[4]));
    for (const std::size_t i : {0, 1, 3, 5, 6, 7, 8}) CHECK((dx[i] == 0 && !std::signbit(dx[i])));
  }
}
