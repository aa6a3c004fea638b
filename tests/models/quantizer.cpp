// Step sizes: where they start, what their gradient is scaled by, and that nothing drives them through zero.
#include "models/quantizer.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "models/supernet.h"
#include "tests/support/numeric.h"
#include "training/optimizer.h"

using namespace rtfq;
using test::normal;

namespace {

const std::vector<int> bits{8, 4};

/// The step that `quantizer` takes from `x`, and the summed squared error it leaves.
struct Start {
  float step;
  double error;
};
Start start(StepInit init, const Tensor& x, int b, bool is_signed) {
  Quantizer quantizer("q", bits, {.weight = is_signed, .is_signed = is_signed, .init = init});
  Tape tape(true);
  const auto y = quantizer.apply(tape, Tape::constant(x), b, x).data.to_vector();
  double error = 0;
  for (int64_t i = 0; i < x.count(); ++i) {
    const double v = static_cast<double>(x.as<float>()[i]);
    const double wanted = is_signed ? v : std::max(0.0, v);
    error += std::pow(static_cast<double>(y[static_cast<std::size_t>(i)]) - wanted, 2);
  }
  return {quantizer.step(b).value.as<float>()[0], error};
}

}  // namespace

TEST_CASE("quantizer: initial steps") {
  const Tensor x = normal({64, 3, 3, 16}, 1);
  double largest = 0, sum = 0;
  for (int64_t i = 0; i < x.count(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(x.as<float>()[i])));
    sum += std::abs(static_cast<double>(x.as<float>()[i]));
  }
  for (const int b : bits) {
    const double qp = std::pow(2, b - 1) - 1;
    const Start lsq = start(StepInit::lsq, x, b, true), max = start(StepInit::max, x, b, true),
                mse = start(StepInit::mse, x, b, true);
    CHECK(lsq.step == Approx(2 * sum / static_cast<double>(x.count()) / std::sqrt(qp)));
    CHECK(max.step == Approx(largest / qp));
    CHECK(mse.error <= max.error);
    CHECK(mse.error < lsq.error);
  }
  // At 4 bits clamping the tails pays, and the negative half of an unsigned tensor has no say.
  CHECK(start(StepInit::mse, x, 4, true).error < 0.8 * start(StepInit::max, x, 4, true).error);
  const Tensor negative = Tensor::from(std::vector<float>{-100, -50, 0.5f, 1}, {4});
  CHECK(start(StepInit::max, negative, 4, false).step == Approx(1.0 / 15));
  CHECK(start(StepInit::mse, Tensor::zeros({8}), 4, false).step == 0x1p-60f);
  CHECK_THROWS_WITH(parse_step_init("mean"), Catch::Contains("expected lsq, max or mse, got 'mean'"));
  CHECK_THROWS_WITH(parse_step_gradient("max"), Catch::Contains("expected lsq, count or none"));
}

TEST_CASE("quantizer: the gradient of a step is scaled as asked") {
  const Tensor x = normal({2, 5, 5, 4}, 2), g = normal({2, 5, 5, 4}, 3);
  const auto gradient = [&](StepGradient kind) {
    Quantizer quantizer("q", bits, {.gradient = kind});
    Tape tape(true);
    const Variable y = quantizer.apply(tape, Tape::constant(x), 4, x);
    tape.backward(y, g);
    return static_cast<double>(quantizer.step(4).gradient.as<float>()[0]);
  };
  const double none = gradient(StepGradient::none), n = 100;  // features of one image
  REQUIRE(none != 0);
  CHECK(gradient(StepGradient::count) == Approx(none / std::sqrt(n)).epsilon(1e-5));
  CHECK(gradient(StepGradient::lsq) == Approx(none / std::sqrt(n * 15)).epsilon(1e-5));
}

TEST_CASE("quantizer: a step driven towards zero stays positive and finite, and comes back") {
  // Values far below the step are all coded zero, so the gradient of the error always asks for a smaller
  // step; then large values ask for a larger one. Plain SGD at this rate would cross zero in the first
  // update.
  SupernetOptions options;
  options.arch = "resnet14_small";
  options.image_channels = 1;
  options.bank = {{1.0}, {1.0}, {16}, {4}, 8};
  Supernet net(options, 1);
  OptimizerConfig config;
  config.learning_rate = 10;
  Optimizer optimizer(net, config);
  Parameter* step = nullptr;
  for (const Quantizer* q : net.quantizers())
    if (q->name() == "stem.output") step = &q->step(4);
  REQUIRE(step);
  step->value.as<float>()[0] = 0.01f;
  const auto push = [&](float gradient, int times) {
    for (int i = 0; i < times; ++i) {
      step->touched = true;
      step->gradient.as<float>()[0] = gradient;
      optimizer.step(config.learning_rate, 1);
      const float s = step->value.as<float>()[0];
      REQUIRE(std::isfinite(s));
      REQUIRE(s >= 0x1p-60f);
    }
  };
  push(1000, 500);
  CHECK(step->value.as<float>()[0] == 0x1p-60f);
  push(-1000, 500);
  CHECK(step->value.as<float>()[0] > 0.01f);
}

TEST_CASE("quantizer: exceptions give layers bits of their own") {
  SupernetOptions options;
  options.arch = "resnet14_small";
  options.image_channels = 1;
  options.bank = {{1.0}, {1.0}, {16}, {8, 4}, 8};
  const SubnetCost plain = subnet_cost(options, {1, 1, 16, 4});
  options.bits_exceptions = {parse_bits_exception("stage1.*=8"),
                             parse_bits_exception("stage1.block1.conv2=6")};
  Supernet net(options, 1);
  int found = 0;
  for (const Quantizer* q : net.quantizers()) {
    const bool inside = q->name().rfind("stage1.", 0) == 0;
    const int expected = q->name() == "stage1.block1.conv2" ? 6 : inside ? 8 : 4;
    if (q->name() == "input" || q->name() == "features" || q->name() == "classifier" || q->name() == "stem" ||
        q->name().ends_with(".identity"))
      continue;  // have 8 bits anyway
    INFO(q->name());
    CHECK(q->used_bits(4) == expected);
    CHECK(q->used_bits(float_bits) == float_bits);
    CHECK(q->bounds(4).qp == kernels::quant_bounds(expected, q->options().is_signed).qp);
    CHECK(q->steps().size() == (inside ? 1u : 2u));
    ++found;
  }
  CHECK(found > 15);
  // Stage 1 is 4 convolutions of 32 to 32 channels, 3x3, on 8x8 pixels. The first reads the stem's 4-bit
  // codes, the others 8-bit ones; the last has 6-bit weights.
  const SubnetCost mixed = net.cost({1, 1, 16, 4});
  const int64_t weights = 32 * 32 * 9, macs = weights * 64;
  CHECK(mixed.bytes - plain.bytes == (3 * 4 + 2) * weights / 8);
  // Stage 2's first convolution and projection read stage 1's 8-bit output.
  const int64_t next = 32 * 64 * 9 * 16 + 32 * 64 * 16;
  CHECK(mixed.bitops - plain.bitops ==
        macs * ((8 * 4 - 16) + 2 * (64 - 16) + (6 * 8 - 16)) + next * (4 * 8 - 16));
  CHECK(mixed.macs == plain.macs);
  const Tensor images = normal({2, 16, 16, 1}, 4);
  const BatchPart part{Domain::source, 2};
  Tape tape(true);
  CHECK(net.forward(tape, {1, 1, 16, 4}, images, std::span(&part, 1), NormMode::train).data.dims() ==
        Dims{2, 10});

  options.bits_exceptions = {parse_bits_exception("stage9.*=8")};
  CHECK_THROWS_WITH(Supernet(options, 1), Catch::Contains("nothing is called 'stage9.*'"));
  for (const char* wrong : {"stage1", "stage1=9", "=8", "stem=four", "stem=8 "})
    CHECK_THROWS_WITH(parse_bits_exception(wrong), Catch::Contains("expected NAME=BITS"));
}
