// The numeric contract of fake-quant in literal values: ties, borders, special values, one rounding of 1/s.
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "kernels/fakequant.h"
#include "tests/kernels/launch.h"

using namespace rtfq::kernels;
using namespace rtfq::test;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

struct Gradient {
  std::vector<float> dx;
  float ds = 0;
};

Gradient backward(const std::string& name, const FakeQuantShape& s, const std::vector<float>& x,
                  const std::vector<float>& g, float step) {
  const auto& impl = implementation<FakeQuantBackward>(name);
  catalog::Buffer workspace(impl.workspace(s));
  Gradient result{std::vector<float>(x.size())};
  impl.launch(s, {g.data(), x.data(), &step, result.dx.data(), false, &result.ds, 1, workspace.data()}, {});
  return result;
}

std::vector<float> values(const std::string& name, const FakeQuantShape& s, const std::vector<float>& x,
                          float step) {
  std::vector<float> y(x.size());
  implementation<FakeQuantForward>(name).launch(s, {x.data(), &step, y.data(), nullptr}, {});
  return y;
}

template <class Code>
std::vector<Code> codes(const std::string& name, const FakeQuantShape& s, const std::vector<float>& x,
                        float step) {
  std::vector<Code> result(x.size());
  implementation<FakeQuantForward>(name).launch(s, {x.data(), &step, nullptr, result.data()}, {});
  return result;
}

FakeQuantShape shape_for(const std::vector<float>& x, QuantBounds bounds) {
  return make_fakequant_shape(static_cast<int64_t>(x.size()), bounds);
}

}  // namespace

TEST_CASE("fakequant contract: ties, borders and special values") {
  // v = x / 0.5; signed 3 bits: codes -4 to 3.
  struct Row {
    float v;
    int8_t code;
    float passes, t;
  };
  const std::vector<Row> rows{{0.5f, 0, 1, -0.5f},
                              {1.5f, 2, 1, 0.5f},
                              {2.5f, 2, 1, -0.5f},
                              {-0.5f, 0, 1, 0.5f},
                              {-1.5f, -2, 1, -0.5f},
                              {-2.5f, -2, 1, 0.5f},
                              {-3.5f, -4, 1, -0.5f},
                              {0, 0, 1, 0},
                              {-0.0f, 0, 1, 0},
                              {0.25f, 0, 1, -0.25f},
                              {-1, -1, 1, 0},
                              {2.75f, 3, 1, 0.25f},
                              {-3.75f, -4, 1, -0.25f},
                              {std::nextafter(3.0f, 0.0f), 3, 1, 3 - std::nextafter(3.0f, 0.0f)},
                              {3, 3, 0, 3},
                              {std::nextafter(3.0f, 4.0f), 3, 0, 3},
                              {3.5f, 3, 0, 3},
                              {100, 3, 0, 3},
                              {infinity, 3, 0, 3},
                              {std::nextafter(-4.0f, 0.0f), -4, 1, -4 - std::nextafter(-4.0f, 0.0f)},
                              {-4, -4, 0, -4},
                              {-4.5f, -4, 0, -4},
                              {-100, -4, 0, -4},
                              {-infinity, -4, 0, -4},
                              {not_a_number, -4, 0, -4},
                              {-std::numeric_limits<float>::max(), -4, 0, -4},
                              {std::numeric_limits<float>::denorm_min(), 0, 1, 0}};
  for (const char* name : runnable_implementations())
    for (const Row& row : rows) {
      // Once for every lane of a vector and for the rest of a run.
      INFO(name << ", v = " << row.v);
      const std::vector<float> x(39, row.v * 0.5f), g(39, 2.0f);
      const auto s = shape_for(x, quant_bounds(3, true));
      CHECK(codes<int8_t>(name, s, x, 0.5f) == std::vector<int8_t>(39, row.code));
      // A code has no sign of zero.
      CHECK(same_bits(values(name, s, x, 0.5f),
                      std::vector<float>(39, row.code == 0 ? 0.0f : 0.5f * static_cast<float>(row.code))));
      const auto gradient = backward(name, s, x, g, 0.5f);
      CHECK(gradient.dx == std::vector<float>(39, 2 * row.passes));
      CHECK(gradient.ds == Approx(39 * 2 * row.t).margin(1e-9));
    }
}

TEST_CASE("fakequant contract: unsigned codes pass no gradient at zero") {
  const std::vector<float> x{0, -0.0f, 0.1f, 3, 2.9f}, g(5, 1.0f);
  const auto s = shape_for(x, quant_bounds(2, false));
  for (const char* name : runnable_implementations()) {
    CHECK(backward(name, s, x, g, 1).dx == std::vector<float>{0, 0, 1, 0, 1});
    CHECK(codes<uint8_t>(name, s, x, 1) == std::vector<uint8_t>{0, 0, 0, 3, 3});
  }
}

TEST_CASE("fakequant contract: r = 1/s is rounded once, and v is the product") {
  // x/s and x*(1/s) fall on different sides of a tie for some of these.
  int differ = 0;
  for (const float step : {0.07f, 0.1f, 0.013f, 0.3f}) {
    const float r = 1 / step;
    std::vector<float> x;
    for (int i = 0; i < 2000; ++i) {
      float value = (0.5f + static_cast<float>(i % 250)) * step;
      for (int ulps = 0; ulps < i / 250; ++ulps) value = std::nextafter(value, i % 2 ? infinity : 0.0f);
      x.push_back(value);
    }
    const auto s = shape_for(x, quant_bounds(8, false));
    for (const char* name : runnable_implementations()) {
      const auto found = codes<uint8_t>(name, s, x, step);
      for (std::size_t i = 0; i < x.size(); ++i) {
        const volatile float v = x[i] * r;
        CHECK(static_cast<float>(found[i]) == std::nearbyint(v));
        differ += std::nearbyint(x[i] / step) != std::nearbyint(v);
      }
    }
  }
  CHECK(differ > 0);
}

TEST_CASE("fakequant contract: the step's gradient is scaled and accumulated") {
  const std::vector<float> x{10, 10, 0.25f, -1}, g{2, 1, 4, 100}, step{1};
  const auto s = shape_for(x, quant_bounds(2, false));
  for (const char* name : runnable_implementations()) {
    const auto& impl = implementation<FakeQuantBackward>(name);
    catalog::Buffer workspace(impl.workspace(s));
    float ds = 7;
    for (int launch = 1; launch <= 2; ++launch) {
      impl.launch(s, {g.data(), x.data(), step.data(), nullptr, false, &ds, 0.5f, workspace.data()}, {});
      CHECK(ds == 7 + 4 * static_cast<float>(launch));  // 0.5 * (2*3 + 1*3 - 4*0.25 + 100*0)
    }
  }
}
