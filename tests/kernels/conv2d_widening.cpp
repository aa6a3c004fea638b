// The convolution for processors without VNNI. Results are compared in catalog.cpp; here: what the sums are
// made of, and bit equality with the others, which exact sums allow.
#include "kernels/cpu/conv2d_widening.h"

#include <catch2/catch.hpp>

#include "kernels/bf16.h"
#include "tests/kernels/launch.h"

using namespace rtfq::kernels;
using namespace rtfq::test;

namespace {

std::vector<int8_t> codes(int64_t count, uint64_t seed) {
  const auto drawn = normal(count, seed);
  std::vector<int8_t> values;
  for (const float x : drawn) values.push_back(static_cast<int8_t>(static_cast<int>(x * 1000.0f)));
  return values;
}

template <class Y>
std::vector<Y> forward(const std::string& name, const Conv2dShape& s, const std::vector<int8_t>& x,
                       const std::vector<int8_t>& w, const std::vector<float>& scale) {
  const auto& impl = implementation<Conv2dForward>(name);
  REQUIRE(impl.unsupported(s) == nullptr);
  const Packed<Conv2dForward> packed(impl, s, w.data());
  catalog::Buffer workspace(impl.workspace(s));
  std::vector<Y> y(static_cast<std::size_t>(s.n * output_height(s) * output_width(s) * s.k));
  impl.launch(s, {x.data(), packed.get(), y.data(), workspace.data(), scale.data()}, {});
  CHECK((workspace.guards_intact() && packed.guards_intact()));
  return y;
}

const Conv2dShape sliced = make_conv2d_shape(3, 9, 11, 27, 43, 3, 2, 1, 32);

}  // namespace

TEST_CASE("conv2d widening: takes codes, and nothing else") {
  const auto& impl = implementation<Conv2dForward>("widening");
  CHECK(impl.unsupported(sliced) != nullptr);
  CHECK(impl.unsupported(with_types(sliced, RTFQ_BF16, RTFQ_F32, RTFQ_BF16)) != nullptr);
  CHECK(impl.unsupported(with_types(sliced, RTFQ_U8, RTFQ_F32, RTFQ_BF16)) != nullptr);
  for (const auto x : {RTFQ_U8, RTFQ_S8})
    for (const auto y : {RTFQ_F32, RTFQ_BF16, RTFQ_S32})
      CHECK(impl.unsupported(with_types(sliced, x, RTFQ_S8, y)) == nullptr);
}

TEST_CASE("conv2d widening: pairs that saturate in 16 bits do not here") {
  // 255*127 + 255*127 = 64770, beyond 32767.
  const auto s = with_types(make_conv2d_shape(1, 1, 1, 64, 16, 1, 1, 0, 64), RTFQ_U8, RTFQ_S8, RTFQ_S32);
  const std::vector<int8_t> x(64, static_cast<int8_t>(0xff)), w(64 * 16, 127);
  for (const int32_t sum : forward<int32_t>("widening", s, x, w, {})) CHECK(sum == 64 * 255 * 127);
}

TEST_CASE("conv2d widening: the same bits as the plain kernel and, where it runs, the library") {
  const auto x = codes(sliced.n * sliced.h * sliced.w * sliced.c, 1),
             w = codes(sliced.k * 9 * sliced.c_parent, 2);
  auto scale = normal(sliced.k, 3);
  for (const auto type : {RTFQ_U8, RTFQ_S8}) {
    const auto f32 = with_types(sliced, type, RTFQ_S8, RTFQ_F32),
               half = with_types(sliced, type, RTFQ_S8, RTFQ_BF16);
    const auto found = forward<float>("widening", f32, x, w, scale);
    const auto found_half = forward<uint16_t>("widening", half, x, w, scale);
    for (const char* name : {"naive", "onednn"}) {
      if (implementation<Conv2dForward>(name).unsupported(f32)) continue;
      CHECK(same_bits(found, forward<float>(name, f32, x, w, scale)));
      CHECK(same_bits(found_half, forward<uint16_t>(name, half, x, w, scale)));
    }
  }
}

TEST_CASE("conv2d widening: one workspace and one result for any number of threads") {
  const auto s = with_types(sliced, RTFQ_U8, RTFQ_S8, RTFQ_S32);
  const auto x = codes(s.n * s.h * s.w * s.c, 4), w = codes(s.k * 9 * s.c_parent, 5);
  const auto bytes = implementation<Conv2dForward>("widening").workspace(s);
  CHECK(independent_of_threads([&] {
    CHECK(implementation<Conv2dForward>("widening").workspace(s) == bytes);
    return forward<int32_t>("widening", s, x, w, {});
  }));
}
