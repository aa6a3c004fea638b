// Image kernels: shapes, costs, properties and determinism. Results are compared in catalog.cpp.
#include "kernels/image.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/kernels/launch.h"

using namespace rtfq::kernels;
using namespace rtfq::test;
using Catch::Matchers::Contains;

namespace {

std::vector<float> resize(const std::string& name, const ResizeShape& s, const std::vector<float>& x) {
  const auto& impl = implementation<Resize>(name);
  catalog::Buffer workspace(impl.workspace(s));
  std::vector<float> y(static_cast<std::size_t>(s.n * s.p * s.q * s.c), NAN);
  impl.launch(s, {x.data(), y.data(), workspace.data()}, {});
  CHECK(workspace.guards_intact());
  return y;
}

}  // namespace

TEST_CASE("resize: impossible shapes are refused") {
  CHECK_NOTHROW(make_resize_shape(1, 1, 1, 1, 1, 1));
  CHECK_THROWS_WITH(make_resize_shape(0, 8, 8, 3, 4, 4),
                    Contains("[resize] expected a positive number of images, got 0"));
  CHECK_THROWS_WITH(make_resize_shape(1, 0, 8, 3, 4, 4), Contains("input height"));
  CHECK_THROWS_WITH(make_resize_shape(1, 8, 0, 3, 4, 4), Contains("input width"));
  CHECK_THROWS_WITH(make_resize_shape(1, 8, 8, 0, 4, 4), Contains("channels"));
  CHECK_THROWS_WITH(make_resize_shape(1, 8, 8, 3, -4, 4), Contains("output height, got -4"));
  CHECK_THROWS_WITH(make_resize_shape(1, 8, 8, 3, 4, 0), Contains("output width"));
}

TEST_CASE("image: declared costs") {
  const auto s = make_resize_shape(2, 8, 8, 3, 4, 4);
  CHECK(cost(Normalize{}, s).bytes == 5.0 * 2 * 8 * 8 * 3);
  CHECK(cost(Normalize{}, s).operations == 2.0 * 2 * 8 * 8 * 3);
  CHECK(cost(Resize{}, s).bytes == 4.0 * 2 * 3 * (8 * 8 + 4 * 4));
  // Four taps down each of 4x8 columns, four along each of 4x4 outputs.
  CHECK(cost(Resize{}, s).operations == 2.0 * 2 * 3 * (4 * 8 * 4 + 4 * 4 * 4));
}

TEST_CASE("resize: the known values of Pillow's filter") {
  // Shrinking 0 1 2 3 to two values: half-width 2 around centres 1 and 3, weights (3 5 3 1)/8 without the
  // border; the first output takes |distances| 1/2, 1/2, 3/2 from pixels 0, 1, 2: weights 3/4, 3/4, 1/4 over
  // 7/4.
  const std::vector<float> x = {0, 1, 2, 3};
  for (const char* name : {"simd", "naive"}) {
    const auto antialiased = resize(name, make_resize_shape(1, 1, 4, 1, 1, 2), x);
    CHECK(antialiased[0] == Approx((0.75 * 1 + 0.25 * 2) / 1.75));
    CHECK(antialiased[1] == Approx((0.25 * 1 + 0.75 * 2 + 0.75 * 3) / 1.75));
    const auto plain = resize(name, make_resize_shape(1, 1, 4, 1, 1, 2, false), x);
    CHECK(plain == std::vector<float>{0.5f, 2.5f});
    const auto doubled = resize(name, make_resize_shape(1, 4, 1, 1, 8, 1), x);
    CHECK(doubled == std::vector<float>{0, 0.25f, 0.75f, 1.25f, 1.75f, 2.25f, 2.75f, 3});
  }
}

TEST_CASE("resize: a constant image stays constant") {
  for (const auto& [in, out] :
       {std::pair<int64_t, int64_t>{224, 128}, {32, 28}, {20, 32}, {7, 1}, {101, 100}}) {
    const auto s = make_resize_shape(1, in, in, 3, out, out);
    const std::vector<float> ones(static_cast<std::size_t>(in * in * 3), 1.0f);
    for (const float y : resize("simd", s, ones)) CHECK(std::abs(y - 1.0f) <= 4e-7f);
  }
}

TEST_CASE("image: no implementation depends on the number of threads") {
  const auto s = make_resize_shape(3, 37, 29, 3, 20, 41);
  const auto x = normal(s.n * s.h * s.w * s.c, 1);
  std::vector<uint8_t> bytes(x.size());
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 37);
  const float mean[] = {0.5f, 0.4f, 0.3f}, deviation[] = {0.2f, 0.3f, 0.25f};
  for (const char* name : {"simd", "naive"}) {
    CHECK(independent_of_threads([&] { return resize(name, s, x); }));
    CHECK(independent_of_threads([&] {
      std::vector<float> y(bytes.size());
      implementation<Normalize>(name).launch(s, {bytes.data(), mean, deviation, y.data()}, {});
      return y;
    }));
  }
}

TEST_CASE("image: the fast kernels refuse what they cannot hold") {
  CHECK(choose<Normalize>(Backend::cpu, make_resize_shape(1, 2, 2, 3, 1, 1)).name == std::string("simd"));
  CHECK(choose<Normalize>(Backend::cpu, make_resize_shape(1, 2, 2, 65, 1, 1)).name == std::string("naive"));
  CHECK(choose<Resize>(Backend::cpu, make_resize_shape(1, 8, 4000, 3, 2, 2)).name == std::string("naive"));
  CHECK(choose<Resize>(Backend::cpu, make_resize_shape(1, 8, 4000, 3, 2, 40)).name == std::string("simd"));
}
