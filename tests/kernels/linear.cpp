// The fully connected layer's shapes, costs, choice and determinism. Results are compared in catalog.cpp.
#include "kernels/linear.h"

#include <catch2/catch.hpp>

#include "kernels/cpu/features.h"
#include "tests/kernels/launch.h"

using namespace rtfq::kernels;
using namespace rtfq::test;
using Catch::Matchers::Contains;

TEST_CASE("linear: impossible shapes are refused") {
  CHECK_NOTHROW(make_linear_shape(1, 1, 1, 1));
  CHECK_THROWS_WITH(make_linear_shape(0, 8, 8, 8),
                    Contains("[linear] expected a positive number of rows, got 0"));
  CHECK_THROWS_WITH(make_linear_shape(1, 0, 8, 8), Contains("input features"));
  CHECK_THROWS_WITH(make_linear_shape(1, 8, -2, 8), Contains("output features, got -2"));
  CHECK_THROWS_WITH(make_linear_shape(1, 9, 8, 8), Contains("at most 8 input features, got 9"));
  CHECK_THROWS_AS(make_linear_shape(1, 9, 8, 8), std::invalid_argument);
}

TEST_CASE("linear: types that go together") {
  const auto s = make_linear_shape(4, 96, 10, 128);
  const auto u8 = with_types(s, RTFQ_U8, RTFQ_S8, RTFQ_F32);
  CHECK((u8.x_type == RTFQ_U8 && u8.w_type == RTFQ_S8 && u8.y_type == RTFQ_F32));
  CHECK(with_types(u8, RTFQ_F32, RTFQ_F32, RTFQ_F32).w_type == RTFQ_F32);
  CHECK_THROWS_WITH(with_types(s, RTFQ_U8, RTFQ_F32, RTFQ_F32),
                    Contains("[linear]") && Contains("got x u8, weights f32"));
  CHECK_THROWS_AS(with_types(s, RTFQ_BF16, RTFQ_F32, RTFQ_BF16), std::invalid_argument);
  CHECK_THROWS_AS(with_types(s, RTFQ_U8, RTFQ_S8, RTFQ_BF16), std::invalid_argument);
  // 255 * 128 * 65793 is the greatest sum below 2^31.
  CHECK_NOTHROW(with_types(make_linear_shape(1, 65793, 1, 65793), RTFQ_U8, RTFQ_S8, RTFQ_F32));
  CHECK_THROWS_WITH(with_types(make_linear_shape(1, 65794, 1, 65794), RTFQ_U8, RTFQ_S8, RTFQ_F32),
                    Contains("at most 65793 products"));
  CHECK_NOTHROW(with_types(make_linear_shape(1, 131071, 1, 131071), RTFQ_S8, RTFQ_S8, RTFQ_F32));
  CHECK_THROWS_AS(choose<LinearDgrad>(Backend::cpu, u8), std::runtime_error);
  CHECK_THROWS_AS(choose<LinearWgrad>(Backend::cpu, u8), std::runtime_error);
}

TEST_CASE("linear: declared costs count the slice, not the parent") {
  const auto s = make_linear_shape(64, 1744, 65, 2048);
  const double products = 64.0 * 1744 * 65;
  const double matrices = 64.0 * 1744 + 1744.0 * 65 + 64.0 * 65;
  CHECK(cost(LinearForward{}, s).operations == 2 * products + 64 * 65);
  CHECK(cost(LinearForward{}, s).bytes == 4 * (matrices + 65));
  CHECK(cost(LinearDgrad{}, s).operations == 2 * products);
  CHECK(cost(LinearDgrad{}, s).bytes == 4 * matrices);
  CHECK(cost(LinearWgrad{}, s).operations == 2 * products + 64 * 65);
  const Cost codes = cost(LinearForward{}, with_types(s, RTFQ_U8, RTFQ_S8, RTFQ_F32));
  CHECK(codes.bytes == 64.0 * 1744 + 1744.0 * 65 + 4 * (64.0 * 65 + 2 * 65));
  CHECK(codes.operations == 2 * products + 2 * 64 * 65);
}

TEST_CASE("linear: the library comes first, the plain one can be preferred") {
  const auto s = make_linear_shape(4, 96, 10, 128);
  CHECK(choose<LinearForward>(Backend::cpu, s).name == std::string("onednn"));
  CHECK(choose<LinearDgrad>(Backend::cpu, s).name == std::string("onednn"));
  prefer(LinearWgrad::name, "naive");
  CHECK(choose<LinearWgrad>(Backend::cpu, s).name == std::string("naive"));
  prefer(LinearWgrad::name, "");
  CHECK(choose<LinearWgrad>(Backend::cpu, s).name == std::string("onednn"));
  LinearShape bytes = s;
  bytes.w_type = RTFQ_S8;  // no row of types
  for (const auto& implementation : LinearForward::cpu()) CHECK(implementation.unsupported(bytes) != nullptr);
  const auto codes = with_types(s, RTFQ_U8, RTFQ_S8, RTFQ_F32);
  CHECK(choose<LinearForward>(Backend::cpu, codes).name ==
        std::string(cpu::fast_int8() ? "onednn" : "naive"));
}

TEST_CASE("linear: the plain implementation does not depend on the number of threads") {
  const auto s = make_linear_shape(13, 75, 31, 80);
  const auto x = normal(s.n * s.c, 1), w = normal(s.k * s.c_parent, 2), g = normal(s.n * s.k, 3),
             bias = normal(s.k, 4);
  CHECK(independent_of_threads([&] {
    std::vector<float> y(g.size());
    implementation<LinearForward>("naive").launch(s, {x.data(), w.data(), bias.data(), y.data(), nullptr},
                                                  {});
    return y;
  }));
  CHECK(independent_of_threads([&] {
    std::vector<float> dx(x.size());
    implementation<LinearDgrad>("naive").launch(s, {g.data(), w.data(), dx.data(), nullptr}, {});
    return dx;
  }));
  CHECK(independent_of_threads([&] {
    std::vector<float> dw(w), dbias(bias);
    implementation<LinearWgrad>("naive").launch(
        s, {x.data(), g.data(), dw.data(), dbias.data(), true, nullptr}, {});
    dw.insert(dw.end(), dbias.begin(), dbias.end());
    return dw;
  }));
}

TEST_CASE("linear onednn: the workspace serves launches with and without bias, whatever the thread count") {
  const auto s = make_linear_shape(64, 200, 65, 256);
  const auto x = exact(s.n * s.c, 1), w = exact(s.k * s.c_parent, 2), bias = exact(s.k, 3);
  const auto& impl = implementation<LinearForward>("onednn");
  catalog::Buffer workspace(impl.workspace(s));
  for (const float* b : {static_cast<const float*>(nullptr), bias.data()})
    CHECK(independent_of_threads([&] {
      std::vector<float> y(static_cast<std::size_t>(s.n * s.k));
      impl.launch(s, {x.data(), w.data(), b, y.data(), workspace.data()}, {});
      return y;
    }));
  CHECK(workspace.guards_intact());
}
