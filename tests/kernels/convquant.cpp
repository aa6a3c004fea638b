// The fused convolution beside the two operators it stands for, on processors that run it: the same bits, on
// any number of threads.
#include "kernels/convquant.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "kernels/normquant.h"
#include "tests/kernels/launch.h"
#include "tests/support/skip.h"
#include "tests/support/with_amx.h"

using namespace rtfq::kernels;
using namespace rtfq::test;

namespace {

template <class T>
std::vector<T> drawn(int64_t count, uint64_t seed, float magnitude) {
  std::vector<T> values;
  for (const float x : normal(count, seed)) values.push_back(static_cast<T>(static_cast<int>(x * magnitude)));
  return values;
}

/// Normal values of a magnitude, cut to [low, high].
template <class T>
std::vector<T> bounded(std::size_t count, uint64_t seed, int low, int high, float magnitude) {
  std::vector<T> values;
  for (const float x : normal(static_cast<int64_t>(count), seed))
    values.push_back(static_cast<T>(std::clamp(static_cast<int>(x * magnitude), low, high)));
  return values;
}

struct Layer {
  Conv2dShape conv;
  std::vector<uint8_t> x;
  std::vector<int8_t> w;
  std::vector<float> scale, mean, factor, shift, variance;
  std::vector<uint8_t> residual;
  int32_t x_qp = 255;
  float step = 0.013f, identity_step = 0.009f, residual_step = 0.011f;

  explicit Layer(const Conv2dShape& shape)
      : conv(with_types(shape, RTFQ_U8, RTFQ_S8, RTFQ_F32)),
        x(drawn<uint8_t>(shape.n * shape.h * shape.w * shape.c, 1, 90)),
        w(drawn<int8_t>(shape.k * shape.r * shape.s * shape.c, 2, 40)),
        scale(normal(shape.k, 3)),
        mean(normal(shape.k, 4)),
        factor(normal(shape.k, 5)),
        shift(normal(shape.k, 6)),
        variance(static_cast<std::size_t>(shape.k), 1.0f),
        residual(drawn<uint8_t>(outputs(), 7, 90)) {
    for (float& value : scale) value *= 1e-4f;
  }
  int64_t outputs() const { return conv.n * output_height(conv) * output_width(conv) * conv.k; }

  /// `in_place`: one of the results in the residual's place.
  std::vector<uint8_t> fused(const std::string& name, bool in_place = false) const {
    const auto s = with_input_bound(
        make_convquant_shape(conv, RTFQ_RESIDUAL_CODES, RTFQ_IDENTITY_CODES, 255, 255), x_qp);
    const auto& impl = implementation<ConvQuantForward>(name);
    const Packed<ConvQuantForward> packed(impl, s, w.data());
    catalog::Buffer workspace(impl.workspace(s));
    std::vector<uint8_t> both(static_cast<std::size_t>(2 * outputs()));
    std::copy(residual.begin(), residual.end(), both.begin() + outputs());
    ConvQuantArgs a{};
    a.x = x.data(), a.packed = packed.get(), a.workspace = workspace.data();
    a.scale = scale.data(), a.mean = mean.data(), a.factor = factor.data(), a.shift = shift.data();
    a.residual_step = &residual_step;
    a.step = &step, a.identity_step = &identity_step;
    a.y = both.data(), a.identity = both.data() + outputs();
    a.residual = in_place ? a.identity : residual.data();
    impl.launch(s, a, {});
    return both;
  }

  std::vector<uint8_t> one_by_one() const {
    const auto& impl = choose<Conv2dForward>(Backend::cpu, conv);
    const Packed<Conv2dForward> packed(impl, conv, w.data());
    catalog::Buffer workspace(impl.workspace(conv));
    std::vector<float> y(static_cast<std::size_t>(outputs()));
    impl.launch(conv, {x.data(), packed.get(), y.data(), workspace.data(), scale.data()}, {});
    auto norm = make_batchnorm_shape(conv.n, outputs() / conv.n / conv.k, conv.k);
    norm.epsilon = 0;
    const auto s = make_normquant_shape(norm, RTFQ_RESIDUAL_CODES, RTFQ_IDENTITY_CODES, 255, 255);
    std::vector<uint8_t> both(static_cast<std::size_t>(2 * outputs()));
    NormQuantForwardArgs a{};
    a.in.main.x = y.data(), a.in.main.mean = mean.data(), a.in.main.variance = variance.data();
    a.in.main.scale[0] = factor.data(), a.in.main.shift[0] = shift.data();
    a.in.residual = residual.data(), a.in.residual_step = &residual_step;
    a.in.step = &step, a.in.identity_step = &identity_step;
    a.codes = both.data(), a.identity = both.data() + outputs();
    choose<NormQuantForward>(Backend::cpu, s).launch(s, a, {});
    return both;
  }
};

std::vector<Conv2dShape> shapes() {
  return {
      make_conv2d_shape(2, 14, 14, 64, 96, 3, 1, 1, 64), make_conv2d_shape(3, 9, 9, 128, 256, 1, 2, 0, 128),
      make_conv2d_shape(1, 28, 28, 32, 64, 1, 1, 0, 32), make_conv2d_shape(1, 7, 7, 128, 200, 3, 1, 1, 128)};
}

/// What the implementation computes is what one operator after the other does.
void require_same(const std::string& name) {
  for (const auto& shape : shapes()) {
    const Layer layer(shape);
    const auto expected = layer.one_by_one();
    CHECK(same_bits(layer.fused(name), expected));
    CHECK(same_bits(layer.fused(name, true), expected));
    CHECK(independent_of_threads([&] { return layer.fused(name); }));
  }
}

}  // namespace

TEST_CASE("convquant: the same codes as convolution and normquant, on any number of threads") {
  require_same("naive");
  require_same("avx2");
}

TEST_CASE("convquant: vnni gives the same codes, on any number of threads") {
  const auto some = make_convquant_shape(Layer(shapes().front()).conv);
  if (const char* reason = implementation<ConvQuantForward>("vnni").unsupported(some)) return skip(reason);
  require_same("vnni");
}

TEST_CASE("convquant: avx_vnni gives the same codes, on any number of threads") {
  const auto some = make_convquant_shape(Layer(shapes().front()).conv);
  if (const char* reason = implementation<ConvQuantForward>("avx_vnni").unsupported(some)) return skip(reason);
  require_same("avx_vnni");
}

// What decides how long its runs are: the magnitude of weights and codes, and how many steps there are.
TEST_CASE("convquant: avx2 adds up in 16 bits only what they hold") {
  for (const int32_t x_qp : {1, 3, 15, 63, 127, 128, 200, 255})
    for (const float weights : {0.0f, 1.0f, 2.6f, 7.0f, 20.0f, 60.0f, 1000.0f})
      for (const int64_t c : {4, 12, 32, 36, 72, 256}) {
        Layer layer(make_conv2d_shape(1, 3, c == 256 ? 5 : 2, c, 40, c > 36 ? 1 : 3, 1, c > 36 ? 0 : 1, c));
        layer.x_qp = x_qp;
        layer.x = bounded<uint8_t>(layer.x.size(), 11, 0, x_qp, static_cast<float>(x_qp));
        layer.w = bounded<int8_t>(layer.w.size(), 12, -128, 127, weights);
        INFO("x to " << x_qp << ", weights " << weights << ", c " << c);
        CHECK(same_bits(layer.fused("avx2"), layer.fused("naive")));
      }
}

// Every code at its upper end and every weight of one sign: the largest sums there are, of either sign.
TEST_CASE("convquant: avx2 at the ends of 16 bits") {
  for (const int32_t x_qp : {15, 254, 255})
    for (const int weight : {-128, -65, -64, -63, -8, -1, 1, 7, 8, 63, 64, 65, 127})
      for (const int64_t c : {4, 8, 64, 280}) {
        Layer layer(make_conv2d_shape(1, 1, 7, c, 24, 1, 1, 0, c));
        layer.x_qp = x_qp;
        std::fill(layer.x.begin(), layer.x.end(), static_cast<uint8_t>(x_qp));
        std::fill(layer.w.begin(), layer.w.end(), static_cast<int8_t>(weight));
        INFO("x " << x_qp << ", weights " << weight << ", c " << c);
        CHECK(same_bits(layer.fused("avx2"), layer.fused("naive")));
      }
}

TEST_CASE("amx: the same codes as convolution and normquant, on any number of threads") {
  if (!WithAmx::possible()) return skip(WithAmx::impossible);
  const WithAmx amx;
  auto all = shapes();
  // Weights that do not stay in a cache serve many pixels in turn; x that is read in its place, to the last
  // pixel, which is not that of a whole block.
  all.push_back(make_conv2d_shape(1, 9, 9, 256, 352, 3, 1, 1, 256));
  all.push_back(make_conv2d_shape(1, 7, 7, 1024, 800, 1, 1, 0, 1024));
  for (const auto& shape : all) {
    const Layer layer(shape);
    const auto expected = layer.one_by_one();
    CHECK(same_bits(layer.fused("amx"), expected));
    CHECK(same_bits(layer.fused("amx", true), expected));
    CHECK(independent_of_threads([&] { return layer.fused("amx"); }));
  }
}

TEST_CASE("convquant: what it does not compute is refused") {
  const auto conv = make_conv2d_shape(1, 4, 4, 8, 8, 1, 1, 0, 8);
  CHECK_THROWS_WITH(make_convquant_shape(conv), Catch::Contains("u8 or s8 codes"));
  const auto codes = with_types(conv, RTFQ_U8, RTFQ_S8, RTFQ_F32);
  CHECK_THROWS_WITH(make_convquant_shape(codes, RTFQ_RESIDUAL_NORM, RTFQ_IDENTITY_NONE, 255),
                    Catch::Contains("norm of its own"));
  CHECK_THROWS_WITH(make_convquant_shape(codes, RTFQ_RESIDUAL_NONE, RTFQ_IDENTITY_NONE, 256),
                    Catch::Contains("[1, 255]"));
  CHECK_THROWS_WITH(with_input_bound(make_convquant_shape(codes), 0), Catch::Contains("[1, 255]"));
}
