#include "engine/autograd.h"

#include <catch2/catch.hpp>

#include "engine/ops/ops.h"
#include "tests/support/numeric.h"

using namespace rtfq;
using test::normal;

TEST_CASE("autograd: a tape that does not record keeps nothing") {
  Parameter w("w", ParameterKind::weight, normal({4, 1, 1, 4}, 1));
  Tape tape(false);
  const Variable y = ops::conv2d(tape, Tape::constant(normal({2, 5, 5, 4}, 2)), tape.leaf(w, 4, 4), 1);
  CHECK_FALSE(y.needs_gradient());
  CHECK_FALSE(w.touched);
  CHECK_THROWS_AS(tape.backward(y, y.data), std::logic_error);
}

TEST_CASE("autograd: a value used twice gets the sum, and shared gradients are not overwritten") {
  // y = relu(x) + relu(x) + x, so dy/dx = 2[x > 0] + 1; the additions hand one gradient to several nodes.
  Parameter shift("shift", ParameterKind::bias, normal({1, 2, 2, 8}, 3));
  Tape tape(true);
  const Tensor ones = Tensor::from(std::vector<float>(32, 1.0f), {1, 2, 2, 8});
  std::vector<float> found;
  const Variable x =
      tape.record(shift.value.clone(), true, [&](Tape&, const Tensor& g) { found = g.to_vector(); });
  const Variable a = ops::relu(tape, x), b = ops::relu(tape, x);
  const Variable y = ops::add(tape, ops::add(tape, a, b), x);
  const Tensor seed = ones.clone();
  tape.backward(y, seed);
  for (int i = 0; i < 32; ++i)
    CHECK(found[static_cast<std::size_t>(i)] == (shift.value.as<float>()[i] > 0 ? 3.0f : 1.0f));
  CHECK(seed.to_vector() == ones.to_vector());
}

TEST_CASE("autograd: backward frees what it no longer needs") {
  constexpr int64_t layers = 16, bytes = 64 * 64 * 16 * 4;
  Parameter w("w", ParameterKind::weight, normal({16, 1, 1, 16}, 5, 0.2f));
  const Tensor x = normal({1, 64, 64, 16}, 4);
  const auto start = memory::statistics({}).in_use;
  Tape tape(true);
  {
    Variable y = Tape::constant(x);
    for (int i = 0; i < layers; ++i) y = ops::conv2d(tape, y, tape.leaf(w, 16, 16), 1);
    const auto forward = memory::statistics({}).in_use - start;
    CHECK(forward >= layers * bytes);
    memory::reset_peak({});
    Tensor g =
        Tensor::from(std::vector<float>(static_cast<std::size_t>(y.data.count()), 1.0f), y.data.dims());
    tape.backward(y, std::move(g));
    // Two gradients and the workspace of one layer at a time, not one gradient a layer.
    CHECK(memory::statistics({}).peak - start < forward + 8 * bytes);
  }
  CHECK(memory::statistics({}).in_use == start);
}

TEST_CASE("autograd: a gradient of other dims is refused") {
  Parameter p("p", ParameterKind::bias, normal({2, 3}, 6));
  Tape tape(true);
  const Variable x = tape.record(p.value, true, [](Tape&, const Tensor&) {});
  CHECK_THROWS_WITH(tape.backward(x, normal({3, 2}, 7)),
                    Catch::Contains("gradient [3,2] for a value of [2,3]"));
}
