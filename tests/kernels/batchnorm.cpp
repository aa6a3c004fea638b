// Batch normalization beyond the catalog: the reference's gradient by finite differences, one expression an
// element whatever the blocking, statistics that survive hard data.
#include "kernels/batchnorm.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "kernels/catalog/batchnorm_reference.h"
#include "tests/kernels/launch.h"

using namespace rtfq::kernels;
using namespace rtfq::test;
namespace reference = rtfq::kernels::catalog::reference;

namespace {

using Floats = std::vector<float>;

reference::Values doubles(const Floats& x) {
  return {x.begin(), x.end()};
}

std::size_t size_of(const BatchNormShape& s) {
  return static_cast<std::size_t>(s.n * s.hw * s.c);
}

/// Everything a layer needs, random, for all segments.
struct Layer {
  explicit Layer(const BatchNormShape& s)
      : shape(s),
        x(normal(s.n * s.hw * s.c, 1)),
        g(normal(s.n * s.hw * s.c, 2)),
        mean(normal(s.segments * s.c, 3)),
        variance(normal(s.segments * s.c, 4)),
        scale(normal(s.segments * s.c, 5)),
        shift(normal(s.segments * s.c, 6)) {
    for (float& v : variance) v = v * v + 0.1f;
  }

  Floats normalize(const std::string& name, bool relu = false) const {
    BatchNormNormalizeArgs a{};
    Floats y(x.size());
    a.x = x.data();
    a.mean = mean.data();
    a.variance = variance.data();
    for (int i = 0; i < shape.segments; ++i) {
      a.scale[i] = scale.data() + i * shape.c;
      a.shift[i] = shift.data() + i * shape.c;
    }
    a.y = y.data();
    a.relu = relu;
    implementation<BatchNormNormalize>(name).launch(shape, a, {});
    return y;
  }

  /// sum_g, then sum_gx.
  Floats reduce(const std::string& name) const {
    const auto& impl = implementation<BatchNormReduce>(name);
    catalog::Buffer workspace(impl.workspace(shape));
    Floats sums(2 * mean.size());
    impl.launch(shape,
                {x.data(), g.data(), mean.data(), variance.data(), sums.data(), sums.data() + mean.size(),
                 workspace.data()},
                {});
    CHECK(workspace.guards_intact());
    return sums;
  }

  Floats apply(const std::string& name) const {
    BatchNormApplyArgs a{};
    Floats dx(x.size());
    a.x = x.data();
    a.g = g.data();
    a.mean = mean.data();
    a.variance = variance.data();
    a.sum_g = shift.data();
    a.sum_gx = scale.data();
    for (int i = 0; i < shape.segments; ++i) {
      a.scale[i] = scale.data() + i * shape.c;
      a.counts[i] = static_cast<float>(count(shape, i));
    }
    a.dx = dx.data();
    implementation<BatchNormApply>(name).launch(shape, a, {});
    return dx;
  }

  BatchNormShape shape;
  Floats x, g, mean, variance, scale, shift;
};

/// mean, then variance.
Floats statistics(const std::string& name, const BatchNormShape& s, const Floats& x) {
  const auto& impl = implementation<BatchNormStatistics>(name);
  catalog::Buffer workspace(impl.workspace(s));
  const auto moments = static_cast<std::size_t>(s.segments * s.c);
  Floats result(2 * moments);
  impl.launch(s, {x.data(), result.data(), result.data() + moments, workspace.data()}, {});
  CHECK(workspace.guards_intact());
  return result;
}

}  // namespace

TEST_CASE("batchnorm: shapes are checked") {
  const auto segments = [](std::vector<int64_t> ends) { return make_batchnorm_shape(4, 8, ends); };
  CHECK_THROWS_WITH(segments({}), Catch::Contains("[batchnorm] expected 1 to 8 segments, got 0"));
  CHECK_THROWS_WITH(segments({1, 2, 3, 4, 5, 6, 7, 8, 9}), Catch::Contains("got 9"));
  CHECK_THROWS_WITH(segments({3, 3}), Catch::Contains("expected ascending segment ends, got 3 after 3"));
  CHECK_THROWS_WITH(segments({5, 3}), Catch::Contains("got 3 after 5"));
  CHECK_THROWS_AS(segments({0}), std::invalid_argument);
  CHECK_THROWS_AS(make_batchnorm_shape(1, 0, 8), std::invalid_argument);
  CHECK_THROWS_AS(make_batchnorm_shape(1, 4, 0), std::invalid_argument);
  for (const float epsilon : {0.0f, -1.0f, std::nanf(""), INFINITY})
    CHECK_THROWS_WITH(make_batchnorm_shape(1, 4, 8, epsilon), Catch::Contains("positive epsilon"));
  const auto s = segments({2, 5, 9});
  CHECK(s.n == 9);
  CHECK(count(s, 0) == 8);
  CHECK(count(s, 1) == 12);
  CHECK(count(s, 2) == 16);
  CHECK_THROWS_AS(count(s, 3), std::out_of_range);
  CHECK_THROWS_AS(count(s, -1), std::out_of_range);
  CHECK(make_batchnorm_shape(9, 4, 8).segments == 1);
}

TEST_CASE("batchnorm: the reference's gradients by finite differences") {
  // loss = sum of weights * normalize(x), through the statistics.
  const std::vector<int64_t> ends{2, 5};
  const auto s = make_batchnorm_shape(3, 4, ends, 1e-3f);
  const auto weights = doubles(normal(s.n * s.hw * s.c, 11));
  auto x = doubles(normal(s.n * s.hw * s.c, 12)), scale = doubles(normal(s.segments * s.c, 13)),
       shift = doubles(normal(s.segments * s.c, 14));
  const auto loss = [&] {
    const auto y = reference::batchnorm_normalize(s, x, reference::batchnorm_statistics(s, x), scale, shift);
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += weights[i] * y[i];
    return sum;
  };
  const auto difference = [&](double& at) {
    constexpr double h = 1e-6;
    const double middle = at;
    at = middle + h;
    const double above = loss();
    at = middle - h;
    const double below = loss();
    at = middle;
    return (above - below) / (2 * h);
  };
  const auto moments = reference::batchnorm_statistics(s, x);
  const auto sums = reference::batchnorm_reduce(s, x, weights, moments);
  const auto dx = reference::batchnorm_apply(s, x, weights, moments, sums, scale, {6, 9});
  for (std::size_t i = 0; i < x.size(); ++i)
    CHECK(dx[i] == Approx(difference(x[i])).margin(1e-7).epsilon(1e-7));
  for (std::size_t i = 0; i < scale.size(); ++i) {
    CHECK(sums.sum_gx[i] == Approx(difference(scale[i])).margin(1e-7).epsilon(1e-7));
    CHECK(sums.sum_g[i] == Approx(difference(shift[i])).margin(1e-7).epsilon(1e-7));
  }
}

TEST_CASE("batchnorm: one expression an element, whatever the implementation") {
  for (const int64_t c : {1, 5, 8, 30, 64, 100, 255, 257, 700}) {
    const std::vector<int64_t> ends{3, 10};
    const Layer layer(make_batchnorm_shape(37, c, ends));
    INFO(c << " channels");
    CHECK(same_bits(layer.normalize("avx2"), layer.normalize("naive")));
    CHECK(same_bits(layer.normalize("avx2", true), layer.normalize("naive", true)));
    CHECK(same_bits(layer.apply("avx2"), layer.apply("naive")));
  }
}

TEST_CASE("batchnorm: an image's values do not depend on the batch around it") {
  for (const int64_t c : {3, 40, 600}) {
    const Layer batch(make_batchnorm_shape(9, 25, c));
    Layer one(make_batchnorm_shape(1, 25, c));
    const auto whole = batch.normalize("avx2");
    one.mean = batch.mean;
    one.variance = batch.variance;
    one.scale = batch.scale;
    one.shift = batch.shift;
    const auto image = static_cast<std::ptrdiff_t>(25 * c);
    for (std::ptrdiff_t i = 0; i < 9; ++i) {
      one.x.assign(batch.x.begin() + i * image, batch.x.begin() + (i + 1) * image);
      CHECK(same_bits(one.normalize("avx2"),
                      Floats(whole.begin() + i * image, whole.begin() + (i + 1) * image)));
    }
  }
}

TEST_CASE("batchnorm: segments are as if launched apart") {
  const std::vector<int64_t> ends{4, 9};
  const auto joint = make_batchnorm_shape(50, 20, ends), second = make_batchnorm_shape(5, 50, 20);
  const auto x = normal(9 * 50 * 20, 3);
  const auto all = statistics("avx2", joint, x);
  const auto apart = statistics("avx2", second, Floats(x.begin() + 4 * 50 * 20, x.end()));
  CHECK(same_bits(Floats(all.begin() + 20, all.begin() + 40), Floats(apart.begin(), apart.begin() + 20)));
  CHECK(same_bits(Floats(all.begin() + 60, all.end()), Floats(apart.begin() + 20, apart.end())));
}

TEST_CASE("batchnorm: bits do not depend on the number of threads") {
  for (const int64_t c : {8, 30, 64, 513}) {
    const std::vector<int64_t> ends{3, 13};
    const Layer layer(make_batchnorm_shape(c > 100 ? 200 : 1000, c, ends));  // several blocks each
    INFO(c << " channels");
    CHECK(independent_of_threads([&] { return statistics("avx2", layer.shape, layer.x); }));
    CHECK(independent_of_threads([&] { return layer.reduce("avx2"); }));
    CHECK(independent_of_threads([&] { return layer.normalize("avx2", true); }));
    CHECK(independent_of_threads([&] { return layer.apply("avx2"); }));
  }
}

TEST_CASE("batchnorm: the variance survives means far from zero") {
  // Deviations of 1e-2 around 4096: E[x^2] - E[x]^2 has no correct digit in f32.
  const auto s = make_batchnorm_shape(16, 64, 24);
  auto x = normal(16 * 64 * 24, 5);
  for (float& v : x) v = 4096 + 0.01f * v;
  const auto expected = reference::batchnorm_statistics(s, doubles(x));
  for (const char* name : {"avx2", "naive"}) {
    const auto found = statistics(name, s, x);
    for (std::size_t c = 0; c < 24; ++c) {
      CHECK(found[c] == Approx(expected.mean[c]).epsilon(1e-7));
      CHECK(found[24 + c] == Approx(expected.variance[c]).epsilon(1e-5));
    }
  }
}

TEST_CASE("batchnorm: sampled rows that are outliers cost no more than digits") {
  // Every row that the shift is taken from is 30 deviations away from the others.
  const auto s = make_batchnorm_shape(32, 256, 16);
  auto x = normal(32 * 256 * 16, 6);
  for (std::size_t image = 0; image < 32; ++image)
    for (std::size_t c = 0; c < 16; ++c) x[image * 256 * 16 + c] += 30;
  const auto expected = reference::batchnorm_statistics(s, doubles(x));
  const auto found = statistics("avx2", s, x);
  for (std::size_t c = 0; c < 16; ++c) {
    CHECK(found[c] == Approx(expected.mean[c]).margin(1e-5));
    CHECK(found[16 + c] == Approx(expected.variance[c]).epsilon(1e-4));
  }
}

TEST_CASE("batchnorm: a layer's gradient, forward and backward together") {
  const std::vector<int64_t> ends{4, 6};
  const auto s = make_batchnorm_shape(30, 17, ends);
  Layer layer(s);
  const auto moments = statistics("avx2", s, layer.x);
  const auto half = static_cast<std::ptrdiff_t>(layer.mean.size());
  layer.mean.assign(moments.begin(), moments.begin() + half);
  layer.variance.assign(moments.begin() + half, moments.end());
  const auto sums = layer.reduce("avx2");
  BatchNormApplyArgs a{};
  Floats dx(size_of(s));
  a = {layer.x.data(),
       layer.g.data(),
       layer.mean.data(),
       layer.variance.data(),
       sums.data(),
       sums.data() + half,
       {},
       {120, 60},
       dx.data()};
  for (int i = 0; i < 2; ++i) a.scale[i] = layer.scale.data() + i * s.c;
  implementation<BatchNormApply>("avx2").launch(s, a, {});
  const auto m = reference::batchnorm_statistics(s, doubles(layer.x));
  const auto r = reference::batchnorm_reduce(s, doubles(layer.x), doubles(layer.g), m);
  const auto expected = reference::batchnorm_apply(s, doubles(layer.x), doubles(layer.g), m, r,
                                                   doubles(layer.scale), {120, 60});
  for (std::size_t i = 0; i < dx.size(); ++i) CHECK(dx[i] == Approx(expected[i]).margin(5e-6));
}
