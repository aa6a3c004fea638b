// Fake-quant's bounds, shapes, costs and determinism, and properties that users rely on. Results are compared
// in catalog.cpp.
#include "kernels/fakequant.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "kernels/cpu/features.h"
#include "tests/kernels/launch.h"

using namespace rtfq::kernels;
using namespace rtfq::test;
using Catch::Matchers::Contains;

namespace {

struct Gradients {
  std::vector<float> dx, ds;
};

Gradients backward(const std::string& name, const FakeQuantShape& s, const std::vector<float>& x,
                   const std::vector<float>& g, const std::vector<float>& step) {
  const auto& impl = implementation<FakeQuantBackward>(name);
  catalog::Buffer workspace(impl.workspace(s));
  Gradients result{std::vector<float>(x.size()), std::vector<float>(step.size())};
  impl.launch(
      s, {g.data(), x.data(), step.data(), result.dx.data(), false, result.ds.data(), 0.1f, workspace.data()},
      {});
  CHECK(workspace.guards_intact());
  return result;
}

std::vector<float> forward(const std::string& name, const FakeQuantShape& s, const std::vector<float>& x,
                           const std::vector<float>& step, std::vector<uint8_t>* codes = nullptr) {
  std::vector<float> y(static_cast<std::size_t>(count(s)), NAN);
  if (codes) codes->assign(y.size(), 0);
  implementation<FakeQuantForward>(name).launch(
      s, {x.data(), step.data(), y.data(), codes ? codes->data() : nullptr}, {});
  return y;
}

}  // namespace

TEST_CASE("fakequant: bounds of every bit-width") {
  for (int bits = 2; bits <= 8; ++bits) {
    const QuantBounds u = quant_bounds(bits, false), s = quant_bounds(bits, true),
                      symmetric = quant_bounds(bits, true, true);
    INFO(bits << " bits");
    CHECK(u.qn == 0);
    CHECK(u.qp + 1 == std::lround(std::pow(2, bits)));
    CHECK(s.qn == std::lround(std::pow(2, bits - 1)));
    CHECK(s.qp == s.qn - 1);
    CHECK(symmetric.qn == s.qp);
    CHECK(symmetric.qp == s.qp);
  }
  CHECK(quant_bounds(4, true).qn == 8);
  CHECK(quant_bounds(4, true).qp == 7);
  CHECK(quant_bounds(8, false).qp == 255);
  CHECK_THROWS_WITH(quant_bounds(1, true), Contains("[fakequant] expected 2 to 8 bits, got 1"));
  CHECK_THROWS_WITH(quant_bounds(9, false), Contains("got 9"));
  CHECK_THROWS_AS(quant_bounds(0, false), std::invalid_argument);
  CHECK_THROWS_AS(quant_bounds(-4, true), std::invalid_argument);
}

TEST_CASE("fakequant: shapes and what is refused") {
  const QuantBounds b = quant_bounds(4, true);
  const auto dense = make_fakequant_shape(1000, b);
  CHECK(count(dense) == 1000);
  CHECK(steps(dense) == 1);
  const auto rows = make_fakequant_weight_shape(6, 9, 10, 16, b, true);
  CHECK(count(rows) == 6 * 9 * 10);
  CHECK(steps(rows) == 6);
  CHECK(rows.row_stride == 9 * 16);
  CHECK(rows.group_stride == 16);
  CHECK(steps(make_fakequant_weight_shape(6, 9, 10, 16, b, false)) == 1);

  CHECK_THROWS_WITH(make_fakequant_shape(0, b),
                    Contains("[fakequant] expected a positive number of elements, got 0"));
  CHECK_THROWS_WITH(make_fakequant_weight_shape(0, 9, 10, 16, b, true), Contains("output channels, got 0"));
  CHECK_THROWS_WITH(make_fakequant_weight_shape(6, -1, 10, 16, b, true), Contains("filter size, got -1"));
  CHECK_THROWS_WITH(make_fakequant_weight_shape(6, 9, 0, 16, b, true), Contains("input channels, got 0"));
  CHECK_THROWS_WITH(make_fakequant_weight_shape(6, 9, 17, 16, b, true),
                    Contains("at most 16 input channels, got 17: the subnet is wider than its parent"));
  CHECK_NOTHROW(make_fakequant_weight_shape(6, 9, 16, 16, b, true));
  // What no 8-bit code can hold.
  CHECK_THROWS_WITH(make_fakequant_shape(8, {-1, 7}), Contains("got [1, 7]: use quant_bounds"));
  CHECK_THROWS_AS(make_fakequant_shape(8, {0, 256}), std::invalid_argument);
  CHECK_THROWS_AS(make_fakequant_shape(8, {129, 127}), std::invalid_argument);
  CHECK_THROWS_AS(make_fakequant_shape(8, {1, 128}), std::invalid_argument);
  CHECK_THROWS_AS(make_fakequant_shape(8, {0, 0}), std::invalid_argument);
  CHECK_THROWS_AS(make_fakequant_weight_shape(6, 9, 10, 16, {0, 256}, true), std::invalid_argument);
  CHECK_THROWS_WITH(make_fakequant_shape(8, {0, 15}, RTFQ_U8),
                    Contains("expected f32, bf16 or f16 elements, got u8"));
  for (const auto half : {RTFQ_BF16, RTFQ_F16})
    CHECK(cost(FakeQuantBackward{}, make_fakequant_shape(8, {0, 15}, half)).bytes == 6 * 8);
  CHECK_NOTHROW(make_fakequant_shape(8, {128, 127}));
  CHECK_NOTHROW(make_fakequant_shape(8, {0, 255}));
}

TEST_CASE("fakequant: declared costs count the slice, not the parent") {
  const auto s = make_fakequant_weight_shape(6, 9, 10, 16, quant_bounds(4, true), true);
  const double n = 6 * 9 * 10;
  CHECK(cost(FakeQuantForward{}, s).bytes == 8 * n);
  CHECK(cost(FakeQuantBackward{}, s).bytes == 12 * n);
  CHECK(cost(AbsSum{}, s).bytes == 4 * n);
  CHECK(cost(FakeQuantForward{}, s).operations == 5 * n);
  CHECK(cost(FakeQuantBackward{}, s).operations == 7 * n);
  CHECK(cost(AbsSum{}, s).operations == 2 * n);
}

TEST_CASE("fakequant: the vector kernels come first and refuse other types") {
  auto s = make_fakequant_shape(100, quant_bounds(4, true));
  CHECK(choose<FakeQuantForward>(Backend::cpu, s).name == std::string(cpu::has_avx512() ? "avx512" : "avx2"));
  CHECK(FakeQuantForward::cpu().back().name == std::string("naive"));
  CHECK(FakeQuantBackward::cpu().back().name == std::string("naive"));
  CHECK(AbsSum::cpu().back().name == std::string("naive"));
  s.type = RTFQ_U8;
  CHECK_THROWS_WITH(choose<FakeQuantForward>(Backend::cpu, s),
                    Contains("[fakequant.forward]") && Contains("f32"));
  CHECK_THROWS_AS(choose<FakeQuantBackward>(Backend::cpu, s), std::runtime_error);
  CHECK_THROWS_AS(choose<AbsSum>(Backend::cpu, s), std::runtime_error);
}

TEST_CASE("fakequant: no implementation depends on the number of threads") {
  for (const auto& s : {make_fakequant_shape(150001, quant_bounds(4, false)),
                        make_fakequant_weight_shape(300, 9, 33, 40, quant_bounds(3, true), false),
                        make_fakequant_weight_shape(300, 9, 33, 40, quant_bounds(3, true), true)}) {
    const auto x = normal(s.rows * s.row_stride, 1), g = normal(count(s), 2);
    const std::vector<float> step(static_cast<std::size_t>(steps(s)), 0.137f);
    for (const char* name : {"avx2", "naive"}) {
      INFO(name << " of " << count(s));
      CHECK(independent_of_threads([&] {
        std::vector<uint8_t> codes;
        auto all = forward(name, s, x, step, &codes);
        all.insert(all.end(), codes.begin(), codes.end());
        return all;
      }));
      CHECK(independent_of_threads([&] {
        auto [dx, ds] = backward(name, s, x, g, step);
        dx.insert(dx.end(), ds.begin(), ds.end());
        return dx;
      }));
      CHECK(independent_of_threads([&] {
        const auto& impl = implementation<AbsSum>(name);
        catalog::Buffer workspace(impl.workspace(s));
        std::vector<float> sums(step.size());
        impl.launch(s, {x.data(), sums.data(), workspace.data()}, {});
        return sums;
      }));
    }
  }
}

TEST_CASE("fakequant: codes are the same bits in both implementations, with steps that are not exact") {
  for (const int bits : {2, 4, 8})
    for (const float step : {0.1f, 0.0371f, 3.3e-7f, 1234.5f}) {
      const auto s = make_fakequant_shape(20011, quant_bounds(bits, true));
      auto x = normal(count(s), 3);
      for (float& value : x) value *= step * static_cast<float>(s.qp);
      // Around every tie and border, where another rounding of 1/s would choose another code.
      for (std::size_t i = 0; i < 4096; ++i)
        x[i] = std::nextafter(step * (0.5f * static_cast<float>(i / 8 % 512) - 128.0f),
                              i % 2 ? INFINITY : -INFINITY);
      std::vector<uint8_t> fast, plain;
      const auto values = forward("avx2", s, x, {step}, &fast);
      CHECK(same_bits(values, forward("naive", s, x, {step}, &plain)));
      CHECK(same_bits(fast, plain));
      for (std::size_t i = 0; i < values.size(); ++i)
        REQUIRE(values[i] == static_cast<float>(static_cast<int8_t>(fast[i])) * step);
    }
}

TEST_CASE("fakequant: values that were quantized stay what they are") {
  const auto s = make_fakequant_shape(1000, quant_bounds(4, true));
  const std::vector<float> step{0.125f};
  const auto once = forward("avx2", s, normal(1000, 4), step);
  CHECK(same_bits(once, forward("avx2", s, once, step)));
  // A code of zero is +0, also of values just below zero.
  const auto zeros = forward("avx2", s, std::vector<float>(1000, -0.03f), step);
  CHECK(same_bits(zeros, std::vector<float>(1000, 0.0f)));
}

TEST_CASE("fakequant: rows' step gradients add up to the tensor's") {
  // The same step everywhere; small integers, so that every sum is exact.
  const auto rows = make_fakequant_weight_shape(13, 4, 7, 9, quant_bounds(3, true), true),
             tensor = make_fakequant_weight_shape(13, 4, 7, 9, quant_bounds(3, true), false);
  auto x = exact(rows.rows * rows.row_stride, 5);
  for (float& value : x) value *= 0.375f;
  const auto g = exact(count(rows), 6);
  for (const char* name : {"avx2", "naive"}) {
    // grad_scale is 0.1: compare up to the rounding of each row's product.
    const auto each = backward(name, rows, x, g, std::vector<float>(13, 1.0f));
    const auto whole = backward(name, tensor, x, g, {1.0f});
    CHECK(same_bits(each.dx, whole.dx));
    CHECK(std::accumulate(each.ds.begin(), each.ds.end(), 0.0) ==
          Approx(static_cast<double>(whole.ds[0])).margin(1e-5));
    CHECK(whole.ds[0] != 0);
  }
}
