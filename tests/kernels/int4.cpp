// 4-bit storage: what is refused and what it costs. Results are compared in catalog.cpp.
#include "kernels/int4.h"

#include <catch2/catch.hpp>
#include <vector>

#include "tests/kernels/launch.h"

using namespace rtfq::kernels;
using namespace rtfq::test;
using Catch::Matchers::Contains;

TEST_CASE("int4: what does not fit in 4 bits is refused with a reason") {
  const auto refusal = [](QuantBounds bounds) {
    return unsupported_codes(Int4Quantize{}, make_fakequant_shape(8, bounds));
  };
  for (int bits = 2; bits <= 4; ++bits)
    for (const bool is_signed : {false, true}) CHECK(refusal(quant_bounds(bits, is_signed)) == nullptr);
  CHECK_THAT(refusal({0, 16}), Contains("unsigned codes up to 15"));
  CHECK_THAT(refusal({8, 8}), Contains("signed codes from -8 to 7"));
  CHECK_THAT(refusal({9, 7}), Contains("signed codes from -8 to 7"));
  const auto s = make_conv2d_shape(1, 4, 4, 16, 16, 3, 1, 1, 16);
  CHECK_THAT(unsupported_codes(Conv2dInt4{}, s), Contains("takes codes"));
  for (const auto backend : {Backend::cpu, Backend::simt}) {
    CHECK_THROWS_WITH(choose<Int4Quantize>(backend, make_fakequant_shape(8, {0, 255})), Contains("up to 15"));
    CHECK_THROWS_WITH(choose<Conv2dInt4>(backend, s), Contains("takes codes"));
  }
}

TEST_CASE("int4: weights cost half a byte each") {
  const auto s = with_types(make_conv2d_shape(2, 6, 6, 5, 8, 3, 1, 1, 7), RTFQ_U8, RTFQ_S8, RTFQ_S32);
  CHECK(cost(Conv2dForward{}, s).bytes - cost(Conv2dInt4{}, s).bytes == 8 * 9 * (5 - 3));
  CHECK(cost(Conv2dInt4{}, s).operations == cost(Conv2dForward{}, s).operations);
  const auto weight = make_fakequant_weight_shape(6, 9, 5, 8, quant_bounds(4, true), true);
  CHECK(cost(Int4Quantize{}, weight).bytes == 6 * 9 * (4 * 5 + 3));
}

TEST_CASE("int4: quantizing weights and convolving with them is one chain") {
  // Weights that are codes times a step come back as those codes, whose sums are small integers.
  const int64_t k = 3, c = 5, c_parent = 7;
  const auto quantized = make_fakequant_weight_shape(k, 1, c, c_parent, quant_bounds(4, true), false);
  std::vector<float> w(static_cast<std::size_t>(k * c_parent), 99.0f);
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = 0; j < c; ++j)
      w[static_cast<std::size_t>(i * c_parent + j)] = 0.25f * static_cast<float>((i * c + j) % 16 - 8);
  const float step = 0.25f;
  std::vector<uint8_t> codes(static_cast<std::size_t>(k * int4_bytes(c)));
  const auto& quantizer = choose<Int4Quantize>(Backend::cpu, quantized);
  std::vector<std::byte> scratch(quantizer.workspace(quantized));
  quantizer.launch(quantized, {w.data(), &step, codes.data(), scratch.data()}, {});

  const auto s = with_types(make_conv2d_shape(1, 1, 1, c, k, 1, 1, 0, c), RTFQ_U8, RTFQ_S8, RTFQ_S32);
  const std::vector<uint8_t> x{1, 10, 100, 200, 255};
  std::vector<int32_t> y(static_cast<std::size_t>(k));
  const auto& convolution = choose<Conv2dInt4>(Backend::cpu, s);
  scratch.resize(convolution.workspace(s));
  convolution.launch(s, {x.data(), codes.data(), y.data(), nullptr, scratch.data()}, {});
  for (int64_t i = 0; i < k; ++i) {
    int expected = 0;
    for (int64_t j = 0; j < c; ++j)
      expected += x[static_cast<std::size_t>(j)] * static_cast<int>((i * c + j) % 16 - 8);
    CHECK(y[static_cast<std::size_t>(i)] == expected);
  }
}
