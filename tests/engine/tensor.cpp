#include "engine/tensor.h"

#include <catch2/catch.hpp>
#include <numeric>

#include "engine/random.h"

using namespace rtfq;

namespace {

Tensor counting(Dims dims) {
  std::vector<float> values(static_cast<std::size_t>(dims.product()));
  std::iota(values.begin(), values.end(), 0.0f);
  return Tensor::from(values, dims);
}

}  // namespace

TEST_CASE("tensor: slices share storage and keep the parent's strides") {
  const Tensor parent = counting({4, 3, 5});
  const Tensor corner = parent.leading(0, 2).slice(2, 1, 3);
  CHECK(corner.dims() == Dims{2, 3, 3});
  CHECK(corner.stride(0) == 15);
  CHECK(corner.as<float>()[0] == 1.0f);
  CHECK(corner.shares_storage(parent));
  CHECK_FALSE(corner.dense());
  CHECK(parent.leading(0, 2).dense());
  corner.as<float>()[0] = -1.0f;
  CHECK(parent.as<float>()[1] == -1.0f);
}

TEST_CASE("tensor: a slice with one row left is dense") {
  const Tensor t = counting({4, 1, 5}).slice(1, 0, 1).slice(0, 2, 1);
  CHECK(t.dense());
  CHECK(t.to_vector() == std::vector<float>{10, 11, 12, 13, 14});
}

TEST_CASE("tensor: what does not fit is refused") {
  const Tensor t = counting({2, 3});
  CHECK_THROWS_WITH(t.slice(1, 2, 2), Catch::Contains("does not fit [2,3]"));
  CHECK_THROWS_WITH(t.reshaped({4}), Catch::Contains("cannot view [2,3] as [4]"));
  CHECK_THROWS_WITH(t.leading(1, 2).reshaped({4}), Catch::Contains("cannot view"));
  CHECK_THROWS_AS(t.as<uint8_t>(), std::logic_error);
  CHECK_THROWS_WITH(Tensor::from(std::vector<float>(5), {2, 3}), Catch::Contains("expected 6 values"));
  CHECK_THROWS_WITH(t.copy_from(counting({3, 2})), Catch::Contains("cannot copy"));
}

TEST_CASE("qtensor: codes times step is the fake-quantized value, slices included") {
  const Tensor parent = Tensor::empty({6, 3, 3, 8});
  Random random(7, Purpose::test);
  for (int64_t i = 0; i < parent.count(); ++i) parent.as<float>()[i] = random.normal();
  const Tensor w = parent.leading(0, 4).leading(3, 5);
  const Tensor step = Tensor::from(std::vector<float>{0.1f, 0.2f, 0.3f, 0.05f}, {4});
  const QTensor q = QTensor::quantize(w, step, 4, true);
  REQUIRE(q.codes.dims() == Dims{4, 3, 3, 5});
  const Tensor values = q.dequantize();
  for (int64_t k = 0; k < 4; ++k)
    for (int64_t rs = 0; rs < 9; ++rs)
      for (int64_t c = 0; c < 5; ++c) {
        const float s = step.as<float>()[k], r = 1.0f / s;
        const float v = parent.as<float>()[(k * 9 + rs) * 8 + c] * r;
        const float code = std::max(-8.0f, std::min(7.0f, std::nearbyint(v)));
        const int64_t at = (k * 9 + rs) * 5 + c;
        CHECK(static_cast<float>(q.codes.as<int8_t>()[at]) == code);
        CHECK(values.as<float>()[at] == code * s);
      }
}
