#include "engine/ops/ops.h"

#include <catch2/catch.hpp>
#include <functional>

#include "kernels/batchnorm.h"
#include "tests/support/numeric.h"

using namespace rtfq;
using test::dot;
using test::normal;
using test::unit;

namespace {

struct Net {
  Parameter conv{"conv", ParameterKind::weight, normal({16, 3, 3, 16}, 1, 0.2f)};
  Parameter strided{"strided", ParameterKind::weight, normal({24, 3, 3, 16}, 2, 0.2f)};
  Parameter projection{"projection", ParameterKind::weight, normal({24, 1, 1, 8}, 3, 0.3f)};
  Parameter scale{"scale", ParameterKind::norm, normal({16}, 4)};
  Parameter shift{"shift", ParameterKind::norm, normal({16}, 5)};
  Parameter classifier{"classifier", ParameterKind::weight, normal({5, 24}, 6)};
  Parameter bias{"bias", ParameterKind::bias, normal({5}, 7)};

  /// A residual block on the leading 8 channels of x, in float: every smooth or piecewise linear operation
  /// once.
  Variable forward(Tape& tape, const Tensor& x) {
    const Variable input = Tape::constant(x);
    Variable y = ops::conv2d(tape, input, tape.leaf(conv, 16, 8), 1);
    const ops::NormSegment parts[] = {{1, tape.leaf(scale), tape.leaf(shift)},
                                      {3, tape.leaf(scale), tape.leaf(shift)}};
    y = ops::relu(tape, ops::batch_norm(tape, y, parts, 1e-5f, nullptr));
    y = ops::max_pool(tape, y, 3, 2, 1);
    y = ops::conv2d(tape, y, tape.leaf(strided, 24, 16), 2);
    Variable side = ops::max_pool(tape, ops::conv2d(tape, input, tape.leaf(projection, 24, 8), 2), 3, 2, 1);
    return ops::linear(tape, ops::average_pool(tape, ops::add(tape, y, side)), tape.leaf(classifier, 5, 24),
                       tape.leaf(bias));
  }
};

}  // namespace

TEST_CASE("ops: gradients of a small float network agree with central differences") {
  Net net;
  const Tensor x = normal({3, 8, 8, 8}, 8), g = normal({3, 5}, 9);
  Tape tape(true);
  const Variable y = net.forward(tape, x);
  tape.backward(y, g.clone());
  const auto loss = [&] {
    Tape dry(false);
    return dot(net.forward(dry, x).data, g);
  };
  for (Parameter* p :
       {&net.conv, &net.strided, &net.projection, &net.scale, &net.shift, &net.classifier, &net.bias}) {
    // A unit direction and a small step: few ReLU and maximum borders lie between the two points.
    const Tensor direction = unit(normal(p->value.dims(), 10)), original = p->value.clone();
    const auto moved = [&](float h) {
      for (int64_t i = 0; i < original.count(); ++i)
        p->value.as<float>()[i] = original.as<float>()[i] + h * direction.as<float>()[i];
      return loss();
    };
    const float h = 1e-3f;
    const double numeric = (moved(h) - moved(-h)) / (2 * h), analytic = dot(p->gradient, direction);
    p->value.copy_from(original);
    INFO(p->name << ": numeric " << numeric << ", analytic " << analytic);
    CHECK(std::abs(numeric - analytic) <= 0.01 * std::abs(numeric) + 0.005);
  }
}

TEST_CASE("ops: a slice of a parent computes as its dense copy and leaves the rest of the gradient alone") {
  Parameter parent("parent", ParameterKind::weight, normal({48, 3, 3, 40}, 11));
  const Tensor x = normal({2, 7, 7, 24}, 12), g = normal({2, 7, 7, 32}, 13);
  Tensor dense = Tensor::empty({32, 3, 3, 24});
  for (int64_t k = 0; k < 32; ++k)
    for (int64_t rs = 0; rs < 9; ++rs)
      for (int64_t c = 0; c < 24; ++c)
        dense.as<float>()[(k * 9 + rs) * 24 + c] = parent.value.as<float>()[(k * 9 + rs) * 40 + c];
  Parameter copy("copy", ParameterKind::weight, dense);
  Tape a(true), b(true);
  const Variable ya = ops::conv2d(a, Tape::constant(x), a.leaf(parent, 32, 24), 1);
  const Variable yb = ops::conv2d(b, Tape::constant(x), b.leaf(copy, 32, 24), 1);
  CHECK(ya.data.to_vector() == yb.data.to_vector());
  a.backward(ya, g.clone());
  b.backward(yb, g.clone());
  for (int64_t k = 0; k < 48; ++k)
    for (int64_t rs = 0; rs < 9; ++rs)
      for (int64_t c = 0; c < 40; ++c) {
        const float found = parent.gradient.as<float>()[(k * 9 + rs) * 40 + c];
        const float expected = k < 32 && c < 24 ? copy.gradient.as<float>()[(k * 9 + rs) * 24 + c] : 0.0f;
        if (found != expected)
          FAIL("element " << k << "," << rs << "," << c << ": " << found << " for " << expected);
      }
}

TEST_CASE("ops: gradients of passes accumulate in a parameter") {
  Parameter w("w", ParameterKind::weight, normal({16, 1, 1, 16}, 14));
  const Tensor x = normal({1, 4, 4, 16}, 15), g = normal({1, 4, 4, 16}, 16);
  const auto pass = [&] {
    Tape tape(true);
    const Variable y = ops::conv2d(tape, Tape::constant(x), tape.leaf(w, 16, 16), 1);
    tape.backward(y, g.clone());
  };
  pass();
  const auto once = w.gradient.to_vector();
  pass();
  for (std::size_t i = 0; i < once.size(); ++i) CHECK(w.gradient.as<float>()[i] == 2 * once[i]);
}

TEST_CASE("ops: an unsigned quantizer does the work of the ReLU before it, gradients included") {
  const Tensor x = normal({2, 3, 3, 16}, 17, 2.0f), g = normal({2, 3, 3, 16}, 18);
  const auto bounds = kernels::quant_bounds(4, false);
  const auto run = [&](bool with_relu) {
    Parameter step("step", ParameterKind::step, Tensor::from(std::vector<float>{0.21f}, {1}));
    Tape tape(true);
    std::vector<float> dx;
    const Variable input = tape.record(x, true, [&](Tape&, const Tensor& d) { dx = d.to_vector(); });
    const Variable before = with_relu ? ops::relu(tape, input) : input;
    const Variable y = ops::fakequant(tape, before, tape.leaf(step), bounds, 0.5f);
    const auto values = y.data.to_vector();
    tape.backward(y, g.clone());
    return std::tuple(values, dx, step.gradient.to_vector());
  };
  CHECK(run(true) == run(false));
  CHECK(ops::initial_step(x, 1, bounds, false, {}).front() == [&] {
    Tape dry(false);
    return ops::initial_step(ops::relu(dry, Tape::constant(x)).data, 1, bounds, false, {}).front();
  }());
}

TEST_CASE("ops: channels that do not fit are named") {
  Parameter w("w", ParameterKind::weight, normal({16, 3, 3, 64}, 19));
  Tape tape(false);
  CHECK_THROWS_WITH(ops::conv2d(tape, Tape::constant(normal({1, 4, 4, 48}, 20)), tape.leaf(w, 16, 64), 1),
                    Catch::Contains("[conv2d] weight expects 64 input channels, got 48"));
}
