// Losses beyond the catalog: the references' gradients by finite differences, and properties that hold for
// any logits.
#include "kernels/loss.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <functional>

#include "kernels/catalog/loss_reference.h"
#include "tests/kernels/launch.h"

using namespace rtfq::kernels;
using namespace rtfq::test;
namespace reference = rtfq::kernels::catalog::reference;

namespace {

using reference::Values;

Values logits(int64_t n, int64_t k, uint64_t seed, double deviation = 1.5) {
  const auto x = normal(n * k, seed);
  Values z(x.begin(), x.end());
  for (double& value : z) value *= deviation;
  return z;
}

/// Central differences of `loss` around z against its gradient.
void check_gradient(Values z, const std::function<reference::Loss(const Values&)>& loss) {
  const Values gradient = loss(z).gradient;
  REQUIRE(gradient.size() == z.size());
  constexpr double h = 1e-5;
  for (std::size_t i = 0; i < z.size(); ++i) {
    const double middle = z[i];
    z[i] = middle + h;
    const double above = loss(z).loss;
    z[i] = middle - h;
    const double below = loss(z).loss;
    z[i] = middle;
    CHECK(gradient[i] == Approx((above - below) / (2 * h)).margin(1e-9).epsilon(1e-6));
  }
}

std::vector<float> floats(const Values& x) {
  return {x.begin(), x.end()};
}

}  // namespace

TEST_CASE("loss: shapes are checked") {
  CHECK_THROWS_WITH(make_logits_shape(0, 3), Catch::Contains("[loss]") && Catch::Contains("got 0"));
  CHECK_THROWS_WITH(make_logits_shape(3, 1), Catch::Contains("at least two classes, got 1"));
  CHECK(cost(Softmax{}, make_logits_shape(3, 5)).bytes == 120);
  CHECK(cost(CrossEntropy{}, make_logits_shape(3, 5)).bytes == 4 * (3 * 15 + 7));
}

TEST_CASE("loss: the references' gradients by finite differences") {
  const Values z = logits(5, 6, 1);
  const std::vector<int32_t> labels{0, 5, 2, 3, 3};
  for (const double smoothing : {0.0, 0.1, 1.0}) {
    check_gradient(z,
                   [&](const Values& at) { return reference::cross_entropy(at, 6, labels, {}, smoothing); });
    check_gradient(z, [&](const Values& at) {
      return reference::cross_entropy(at, 6, labels, {1, 0, 1, 0.5, 1}, smoothing);
    });
  }
  const Values targets = reference::softmax(logits(5, 6, 2), 6, 0.5);
  for (const double temperature : {1.0, 0.1, 3.0})
    check_gradient(
        z, [&](const Values& at) { return reference::soft_cross_entropy(at, 6, targets, temperature); });
  // The mean depends on the logits.
  check_gradient(z, [](const Values& at) {
    return reference::information_maximization(at, 6, reference::mean_prediction(at, 6));
  });
  const Values prior = reference::softmax(logits(1, 6, 8), 6, 1);
  check_gradient(z, [&](const Values& at) {
    return reference::information_maximization(at, 6, reference::mean_prediction(at, 6), prior);
  });
  const Values weights = reference::confusion_weights(z, 6, 2.5);
  check_gradient(z, [&](const Values& at) { return reference::class_confusion(at, 6, 2.5, weights); });
  // As one of two ranks: the other's rows move the mean, whose weight on these rows halves as the loss's
  // does.
  const Values others = logits(5, 6, 3);
  Values both = z;
  both.insert(both.end(), others.begin(), others.end());
  const Values mean = reference::mean_prediction(both, 6);
  const Values joint = reference::information_maximization(both, 6, mean).gradient,
               own = reference::information_maximization(z, 6, mean).gradient;
  for (std::size_t i = 0; i < own.size(); ++i) CHECK(own[i] / 2 == Approx(joint[i]).margin(1e-12));
}

TEST_CASE("loss: information maximization at its extremes") {
  // Every row certain, classes used alike: the least loss, -log k. All rows uniform: zero.
  const auto shape = make_logits_shape(4, 4);
  const auto run = [&](float peak) {
    std::vector<float> z(16), mean(4), dz(16);
    for (std::size_t i = 0; i < 4; ++i) z[5 * i] = peak;
    implementation<MeanPrediction>("naive").launch(shape, {z.data(), mean.data()}, {});
    for (const float m : mean) CHECK(m == Approx(0.25));
    float loss = 0;
    implementation<InformationMaximization>("naive").launch(shape,
                                                            {z.data(), mean.data(), 1, &loss, dz.data()}, {});
    return loss;
  };
  CHECK(run(100) == Approx(-std::log(4)).epsilon(1e-6));
  CHECK(run(0) == Approx(0).margin(1e-6));
}

TEST_CASE("loss: with a prior, information maximization is least at the prior's shares") {
  const auto shape = make_logits_shape(8, 2);
  const std::vector<float> prior{0.75f, 0.25f};
  const auto run = [&](int of_first) {
    std::vector<float> z(16), mean(2), dz(16);
    for (int i = 0; i < 8; ++i) z[static_cast<std::size_t>(2 * i + (i < of_first ? 0 : 1))] = 50;
    implementation<MeanPrediction>("naive").launch(shape, {z.data(), mean.data()}, {});
    float loss = 0;
    implementation<InformationMaximization>("naive").launch(
        shape, {z.data(), mean.data(), 1, &loss, dz.data(), prior.data()}, {});
    return loss;
  };
  CHECK(run(6) == Approx(0).margin(1e-6));  // six of eight: the prior
  CHECK(run(4) == Approx(0.5 * std::log(0.5 / 0.75) + 0.5 * std::log(0.5 / 0.25)).epsilon(1e-5));
  CHECK(run(6) < run(5));
  CHECK(run(6) < run(7));
}

TEST_CASE("loss: class confusion at its extremes") {
  // Certain rows confuse nothing; of two classes that every row finds alike, each row's correlation is a half
  // off the diagonal; a class without any probability adds nothing and gets a finite gradient.
  const auto run = [&](int64_t k, const std::vector<float>& z) {
    const auto shape = make_logits_shape(static_cast<int64_t>(z.size()) / k, k);
    std::vector<float> dz(z.size());
    std::vector<double> workspace(static_cast<std::size_t>(shape.n + 2 * k));
    float loss = 0;
    implementation<ClassConfusion>("naive").launch(shape,
                                                   {z.data(), 1, 1, &loss, dz.data(), workspace.data()}, {});
    for (const float g : dz) CHECK(std::isfinite(g));
    return loss;
  };
  CHECK(run(2, {100, 0, 0, 100}) == Approx(0).margin(1e-6));
  CHECK(run(2, {3, 3, -1, -1}) == Approx(0.5));
  CHECK(run(3, {1000, 0, -1e4f, 0, 1000, -1e4f}) == Approx(0).margin(1e-6));
}

TEST_CASE("loss: weight scales the gradient alone, which is accumulated") {
  const auto shape = make_logits_shape(6, 5);
  const auto z = floats(logits(6, 5, 4));
  const auto targets = floats(reference::softmax(logits(6, 5, 5), 5, 1));
  const std::vector<float> mean(5, 0.2f);
  const std::vector<int32_t> labels{0, 1, 2, 3, 4, 0};
  const auto run = [&](auto&& launch) {
    std::vector<float> once(30), twice(30);
    float loss = 0, weighted = 0;
    launch(1.0f, &loss, once.data());
    launch(3.0f, &weighted, twice.data());
    launch(3.0f, &weighted, twice.data());
    CHECK(loss == weighted);
    for (std::size_t i = 0; i < 30; ++i) CHECK(twice[i] == Approx(6 * once[i]).margin(1e-6));
    // Logits moved together change nothing: rows of a gradient sum to zero.
    for (std::size_t row = 0; row < 30; row += 5)
      CHECK(once[row] + once[row + 1] + once[row + 2] + once[row + 3] + once[row + 4] ==
            Approx(0).margin(1e-6));
  };
  run([&](float weight, float* loss, float* dz) {
    implementation<CrossEntropy>("naive").launch(
        shape, {z.data(), labels.data(), nullptr, 0.1f, weight, loss, dz}, {});
  });
  run([&](float weight, float* loss, float* dz) {
    implementation<SoftCrossEntropy>("naive").launch(shape,
                                                     {z.data(), targets.data(), 0.5f, weight, loss, dz}, {});
  });
  run([&](float weight, float* loss, float* dz) {
    implementation<InformationMaximization>("naive").launch(shape, {z.data(), mean.data(), weight, loss, dz},
                                                            {});
  });
}

TEST_CASE("loss: a NaN shows in the loss, also in a row that the mask leaves out") {
  const auto shape = make_logits_shape(2, 3);
  const std::vector<float> z{0, std::nanf(""), 1, 1, 2, 3}, mask{0, 1};
  const std::vector<int32_t> labels{0, 1};
  float loss = 0;
  std::vector<float> dz(6);
  implementation<CrossEntropy>("naive").launch(
      shape, {z.data(), labels.data(), mask.data(), 0, 1, &loss, dz.data()}, {});
  CHECK(std::isnan(loss));
}

TEST_CASE("loss: bits do not depend on the number of threads") {
  const int64_t n = 133, k = 65;
  const auto shape = make_logits_shape(n, k);
  const auto z = floats(logits(n, k, 7));
  std::vector<int32_t> labels;
  for (int32_t i = 0; i < n; ++i) labels.push_back(i % 65);
  CHECK(independent_of_threads([&] {
    std::vector<float> result(static_cast<std::size_t>(n * k + 1));
    implementation<CrossEntropy>("naive").launch(
        shape, {z.data(), labels.data(), nullptr, 0.1f, 1, result.data(), result.data() + 1}, {});
    return result;
  }));
  CHECK(independent_of_threads([&] {
    std::vector<float> p(static_cast<std::size_t>(n * k));
    implementation<Softmax>("naive").launch(shape, {z.data(), 0.5f, p.data()}, {});
    return p;
  }));
}
