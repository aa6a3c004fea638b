// The executor's mma.sync on TF32: the products of a warp, and that an operand nobody rounded is an error.
#include <catch2/catch.hpp>
#include <vector>

#include "kernels/cuda/mma.h"
#include "kernels/simt/executor.h"

using namespace rtfq;
using Catch::Contains;
using kernels::gpu_simt::mma_tf32;
using kernels::gpu_simt::tf32;

namespace {

/// d [16][8] = a [16][8] b [8][8] by one warp; b by columns. Lane l has group g = l / 4, place t = l % 4.
template <bool rounds>
__global__ void product(const float* a, const float* b, float* d) {
  const int g = static_cast<int>(threadIdx.x) / 4, t = static_cast<int>(threadIdx.x) % 4;
  const auto word = [](float x) { return rounds ? tf32(__float_as_uint(x)) : __float_as_uint(x); };
  const uint32_t left[4] = {word(a[g * 8 + t]), word(a[(g + 8) * 8 + t]), word(a[g * 8 + t + 4]),
                            word(a[(g + 8) * 8 + t + 4])};
  float sum[4] = {};
  mma_tf32(sum, left, word(b[g * 8 + t]), word(b[g * 8 + t + 4]));
  for (int i = 0; i < 4; ++i) d[(g + 8 * (i / 2)) * 8 + 2 * t + i % 2] = sum[i];
}

template <bool rounds>
std::vector<float> multiply(const std::vector<float>& a, const std::vector<float>& b) {
  std::vector<float> d(16 * 8);
  simt::launch(product<rounds>, dim3(1), dim3(32), 0, nullptr, a.data(), b.data(), d.data());
  simt::synchronize();
  return d;
}

}  // namespace

TEST_CASE("simt: a warp's product in TF32") {
  std::vector<float> a(16 * 8), b(8 * 8);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i % 13) - 6;
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = (static_cast<float>(i % 7) - 3) * 0.25f;
  const auto d = multiply<true>(a, b);
  for (std::size_t row = 0; row < 16; ++row)
    for (std::size_t column = 0; column < 8; ++column) {
      float expected = 0;
      for (std::size_t term = 0; term < 8; ++term) expected += a[row * 8 + term] * b[column * 8 + term];
      CHECK(d[row * 8 + column] == expected);
    }
  a[5 * 8 + 2] += 0x1p-20f;
  CHECK(multiply<true>(a, b) == d);
  CHECK_THROWS_WITH(multiply<false>(a, b), Contains("round it first"));
}
