#include "training/losses.h"

#include <catch2/catch.hpp>

#include "tests/support/numeric.h"

using namespace rtfq;
using test::dot;
using test::normal;

namespace {

const std::vector<int32_t> labels{0, 3, 2};

/// All losses at once; source rows 0..2, target rows 3..7.
PassLoss all_losses(const Tensor& z, const Tensor& soft, const Tensor& joint) {
  PassLoss loss(z, 3);
  loss.source(labels, 0.1, 1.0);
  loss.information_maximization(0.7);
  loss.distillation(soft, 0.5, 0.6);
  loss.joint(joint, 2.0, 0.3);
  return loss;
}

}  // namespace

TEST_CASE("losses: the gradient is that of the weighted sum") {
  const Tensor z = normal({8, 4}, 1), soft = softmax(normal({5, 4}, 2), 1.0),
               joint = softmax(normal({8, 4}, 3), 2.0);
  const Tensor direction = normal({8, 4}, 4);
  const auto at = [&](float h) {
    Tensor moved = z.clone();
    for (int64_t i = 0; i < z.count(); ++i) moved.as<float>()[i] += h * direction.as<float>()[i];
    return all_losses(moved, soft, joint).total();
  };
  const float h = 1e-2f;
  const double numeric = (at(h) - at(-h)) / (2 * h),
               analytic = dot(all_losses(z, soft, joint).gradient(), direction);
  CHECK(numeric == Approx(analytic).epsilon(2e-3));
  const auto terms = all_losses(z, soft, joint).terms();
  CHECK(terms.at("source") + 0.7 * terms.at("information") + 0.6 * terms.at("distillation") +
            0.3 * terms.at("joint") ==
        Approx(all_losses(z, soft, joint).total()));
}

TEST_CASE("losses: pseudo-labels count only where the network is sure, and touch no source row") {
  const Tensor z = Tensor::from(std::vector<float>{9, 0, 0, 9, 1, 0, 0, 8}, {4, 2});
  PassLoss loss(z, 1);
  loss.pseudo_labels({}, 0.9, 1.0);
  const float* g = loss.gradient().as<float>();
  CHECK(g[0] == 0);
  CHECK(g[4] == 0);  // softmax(1, 0) = 0.73: not sure
  CHECK(g[2] > 0);
  CHECK(g[7] < 0);
  CHECK(g[7] == Approx(-1.0 / 3 * (1 - 1 / (1 + std::exp(-8.0)))).epsilon(1e-3));
}

TEST_CASE("losses: shapes and labels that do not fit are refused") {
  const Tensor z = normal({8, 4}, 5);
  PassLoss loss(z, 3);
  CHECK_THROWS_WITH(loss.source(std::vector<int32_t>{0, 1}, 0, 1),
                    Catch::Contains("expected 3 labels, got 2"));
  CHECK_THROWS_WITH(loss.source(std::vector<int32_t>{0, 1, 4}, 0, 1),
                    Catch::Contains("label 4 is not among 4 classes"));
  CHECK_THROWS_WITH(loss.distillation(normal({8, 4}, 6), 1, 1),
                    Catch::Contains("expects probabilities [5,4], got [8,4]"));
}

TEST_CASE("losses: accuracy") {
  const Tensor z = Tensor::from(std::vector<float>{1, 0, 0, 1, 1, 0, 0, 1}, {4, 2});
  CHECK(percent_right(z, std::vector<int32_t>{0, 1, 1, 1}) == 75.0);
}
