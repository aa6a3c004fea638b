// The fully connected layer's shapes, costs, choice and determinism. Results are compared in catalog.cpp.
#include "kernels/linear.h"

#include <catch2/catch.hpp>

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

TEST_CASE("linear: declared costs count the slice, not the parent") {
  const auto s = make_linear_shape(64, 1744, 65, 2048);
  const double products = 64.0 * 1744 * 65;
  const double matrices = 64.0 * 1744 + 1744.0 * 65 + 64.0 * 65;
  CHECK(cost(LinearForward{}, s).operations == 2 * products + 64 * 65);
  CHECK(cost(LinearForward{}, s).bytes == 4 * (matrices + 65));
  CHECK(cost(LinearDgrad{}, s).operations == 2 * products);
  CHECK(cost(LinearDgrad{}, s).bytes == 4 * matrices);
  CHECK(cost(LinearWgrad{}, s).operations == 2 * products + 64 * 65);
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
  bytes.w_type = RTFQ_S8;
  CHECK(LinearForward::cpu().front().unsupported(bytes) != nullptr);
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
