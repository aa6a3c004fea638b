// Operations on the executor of CUDA kernels beside the CPU's, on the same inputs: codes and everything exact
// bit for bit, sums of floats to rounding. The executor's memory is out of the host's reach.
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>

#include "engine/ops/quantized.h"
#include "engine/ops/used.h"
#include "kernels/simt/executor.h"
#include "tests/support/numeric.h"

using namespace rtfq;
using test::normal;

namespace {

struct Guard {
  simt::ScopedOptions scope;
  Guard() {
    memory::release_cached({Backend::simt, 0});
    simt::options().guard = true;
  }
  ~Guard() { memory::release_cached({Backend::simt, 0}); }
};

using Results = std::vector<std::vector<float>>;

std::vector<float> numbers(const Tensor& t) {
  Tape quiet(false, compute_stream(t.device()));
  if (t.dtype() == DType::u8 || t.dtype() == DType::s8) {
    const Tensor host = t.to({});
    std::vector<float> values;
    for (int64_t i = 0; i < host.count(); ++i)
      values.push_back(t.dtype() == DType::u8 ? static_cast<float>(host.as<uint8_t>()[i])
                                              : static_cast<float>(host.as<int8_t>()[i]));
    return values;
  }
  return ops::convert(quiet, Tape::constant(t), DType::f32).data.to_vector();
}

/// Parameters, and the gradients that a loss sum(g * y) gives them.
struct Bench {
  explicit Bench(Device d) : device(d), tape(true, compute_stream(d)) {}
  Variable input(const Tensor& value) {
    parameters.push_back(std::make_unique<Parameter>("p", ParameterKind::weight, value.to(device)));
    return tape.leaf(*parameters.back());
  }
  Variable typed(const Tensor& value, DType type) { return ops::convert(tape, through(input(value)), type); }
  /// A node of its own, so that a gradient may come in any type.
  Variable through(const Variable& x) {
    return tape.record(x.data, true, [x](Tape& t, const Tensor& g) {
      Tape quiet(false, t.stream());
      x.sink.copy_from(ops::convert(quiet, Tape::constant(g), DType::f32).data);
    });
  }
  Results backward(const Variable& y, Results results = {}) {
    results.push_back(numbers(y.data));
    Tape quiet(false, tape.stream());
    const Tensor g = normal(y.data.dims(), 77).to(device);
    // Codes have gradients of the type of what was quantized.
    const DType type = y.data.dtype() == DType::bf16 ? DType::bf16 : DType::f32;
    tape.backward(y, ops::convert(quiet, Tape::constant(g), type).data);
    for (const auto& p : parameters) results.push_back(p->gradient.to_vector());
    return results;
  }

  Device device;
  Tape tape;
  std::vector<std::unique_ptr<Parameter>> parameters;
};

/// Each result on simt against the CPU's: |a - b| <= tolerance * (greatest |b| of the result).
void compare(const std::function<Results(Bench&)>& run, double tolerance) {
  const Guard guard;
  Bench cpu(Device{}), simt(Device{Backend::simt, 0});
  const Results expected = run(cpu), found = run(simt);
  REQUIRE(expected.size() == found.size());
  for (std::size_t r = 0; r < expected.size(); ++r) {
    REQUIRE(expected[r].size() == found[r].size());
    double top = 0, worst = 0;
    for (std::size_t i = 0; i < expected[r].size(); ++i) {
      top = std::max(top, std::abs(static_cast<double>(expected[r][i])));
      worst =
          std::max(worst, std::abs(static_cast<double>(expected[r][i]) - static_cast<double>(found[r][i])));
    }
    INFO("result " << r);
    CHECK(top > 0);
    CHECK(worst <= tolerance * top);
  }
}

ops::LearnedStep step_of(Bench& b, float value, kernels::QuantBounds bounds, float grad_scale = 0.01f) {
  return {b.input(Tensor::from(std::vector<float>{value}, {1})), bounds, grad_scale};
}

std::vector<ops::NormSegment> segments(Bench& b, int64_t c, int64_t first, int64_t all, uint64_t seed) {
  std::vector<ops::NormSegment> two;
  for (const int64_t end : {first, all}) {
    const Variable scale = b.input(normal({c}, seed++)), shift = b.input(normal({c}, seed++));
    two.push_back({end, scale, shift});
  }
  return two;
}

}  // namespace

TEST_CASE("ops on simt: elementwise, pooling and conversion are the CPU's bits") {
  for (const DType type : {DType::f32, DType::bf16})
    compare(
        [&](Bench& b) {
          const Variable x = b.typed(normal({2, 9, 7, 16}, 1), type),
                         y = b.typed(normal({2, 9, 7, 16}, 2), type);
          return b.backward(ops::max_pool(b.tape, ops::relu(b.tape, ops::add(b.tape, x, y)), 3, 2, 1));
        },
        0);
}

TEST_CASE("ops on simt: codes, convolutions, linear layers and means on codes are the CPU's bits") {
  const auto a8 = kernels::quant_bounds(8, false), w4 = kernels::quant_bounds(4, true);
  for (const int64_t rows : {1, 24})
    compare(
        [&](Bench& b) {
          Tape& t = b.tape;
          const ops::Quantized x =
              ops::quantize(t, b.through(b.input(normal({2, 6, 6, 16}, 3))), step_of(b, 0.02f, a8));
          const Tensor steps =
              Tensor::from(std::vector<float>(static_cast<std::size_t>(rows), 0.11f), {rows});
          const ops::QuantizedWeight w =
              ops::quantize_weight(t, b.input(normal({24, 3, 3, 16}, 4)), {b.input(steps), w4, 0.01f});
          const Variable y = ops::conv2d(t, x, w, 2, DType::f32);
          const ops::Quantized z = ops::quantize(t, y, step_of(b, 0.5f, a8));
          const Variable mean = ops::average_pool(t, z, DType::f32);
          const ops::Quantized features = ops::quantize(t, mean, step_of(b, 0.1f, a8));
          const QTensor q{features.codes.data, features.step, 8, false};
          const ops::QuantizedWeight v =
              ops::quantize_weight(t, b.input(normal({10, 24}, 5)), step_of(b, 0.1f, w4));
          const Variable logits = ops::linear(t, features, q.dequantize(), v, b.input(normal({10}, 6)));
          return Results{numbers(x.codes.data), numbers(w.codes.data), numbers(y.data),
                         numbers(z.codes.data), numbers(mean.data),    numbers(features.codes.data),
                         numbers(logits.data)};
        },
        0);
}

TEST_CASE("ops on simt: convolutions, norms and linear layers in f32 equal the CPU's to rounding") {
  compare(
      [&](Bench& b) {
        Tape& t = b.tape;
        const Variable x = b.through(b.input(normal({3, 8, 8, 8}, 11)));
        Variable y = ops::conv2d(t, x, b.input(normal({16, 3, 3, 8}, 12)), 1);
        y = ops::batch_norm(t, y, segments(b, 16, 1, 3, 13), 1e-5f, nullptr);
        y = ops::conv2d(t, ops::relu(t, y), b.input(normal({24, 1, 1, 16}, 17)), 2);
        y = ops::average_pool(t, y);
        return b.backward(ops::linear(t, y, b.input(normal({5, 24}, 18)), b.input(normal({5}, 19))));
      },
      1e-5);
}

TEST_CASE("ops on simt: norm, residual and quantizers in one pass, the same codes from the same statistics") {
  const auto a4 = kernels::quant_bounds(4, false), a8 = kernels::quant_bounds(8, false);
  for (const DType type : {DType::f32, DType::bf16})
    compare(
        [&](Bench& b) {
          Tape& t = b.tape;
          const Dims dims{3, 4, 4, 16};
          ops::NormInput in{b.typed(normal(dims, 21), type), segments(b, 16, 2, 3, 22), {}, 1e-5f};
          in.statistics = {normal({2, 16}, 26).to(b.device),
                           Tensor::from(std::vector<float>(32, 0.75f), {2, 16}, b.device),
                           {32, 16}};
          ops::ResidualTerm residual;
          residual.codes = ops::quantize(t, b.typed(normal(dims, 27), type), step_of(b, 0.02f, a8));
          const ops::LearnedStep identity = step_of(b, 0.015f, a8);
          const auto out =
              ops::norm_quant(t, in, residual, step_of(b, 0.2f, a4), ops::IdentityForm::codes, &identity);
          return Results{numbers(out.codes.codes.data), numbers(out.identity.codes.data)};
        },
        0);
}

TEST_CASE("ops on simt: gradients of a quantized block equal the CPU's to rounding") {
  const auto a4 = kernels::quant_bounds(4, false), a8 = kernels::quant_bounds(8, false),
             w4 = kernels::quant_bounds(4, true);
  compare(
      [&](Bench& b) {
        Tape& t = b.tape;
        const ops::Quantized x =
            ops::quantize(t, b.through(b.input(normal({3, 6, 6, 8}, 31))), step_of(b, 0.02f, a8));
        const ops::QuantizedWeight w =
            ops::quantize_weight(t, b.input(normal({8, 3, 3, 8}, 32)), step_of(b, 0.2f, w4));
        ops::NormInput in{ops::conv2d(t, x, w, 1, DType::f32), segments(b, 8, 2, 3, 33), {}, 1e-5f};
        in.statistics = ops::norm_statistics(t.stream(), in.x.data, in.segments, in.epsilon);
        ops::ResidualTerm residual;
        residual.codes = x;
        const auto out =
            ops::norm_quant(t, in, residual, step_of(b, 0.2f, a4), ops::IdentityForm::none, nullptr);
        return b.backward(out.codes.codes, {numbers(out.codes.codes.data)});
      },
      // A sum in another order may put a value across a border of its code: one of 864 here or there.
      0.05);
}

TEST_CASE("ops on simt: a slice of a parent is read and its gradient added in place, not a byte is copied") {
  const Guard guard;
  const Device simt{Backend::simt, 0};
  struct Taken {
    std::size_t bytes, requests;
  };
  // Forward and both gradients of a layer of 24 to 32 channels, whose weights are the corner of `parent`.
  const auto run = [&](const Dims& parent, DType type) {
    Parameter w("w", ParameterKind::weight, normal(parent, 41).to(simt));
    const Tensor x = normal({2, 6, 6, 24}, 42).to(simt), g = normal({2, 6, 6, 32}, 43).to(simt);
    Tape tape(true, compute_stream(simt));
    memory::reset_peak(simt);
    const MemoryStatistics before = memory::statistics(simt);
    const Variable input =
        tape.record(ops::convert(tape, Tape::constant(x), type).data, true, [](Tape&, const Tensor&) {});
    const Variable y = ops::conv2d(tape, input, tape.leaf(w, 32, 24), 1);
    tape.backward(y, ops::convert(tape, Tape::constant(g), type).data);
    const MemoryStatistics after = memory::statistics(simt);
    return Taken{after.peak - before.in_use, after.requests - before.requests};
  };
  for (const DType type : {DType::f32, DType::bf16}) {
    const Taken dense = run({32, 3, 3, 24}, type), slice = run({48, 3, 3, 40}, type);
    CHECK(dense.bytes > 0);
    CHECK(slice.bytes == dense.bytes);
    CHECK(slice.requests == dense.requests);
  }
}

TEST_CASE("ops on simt: what computed is named") {
  compare([](Bench& b) { return b.backward(ops::relu(b.tape, b.through(b.input(normal({64}, 41))))); }, 0);
  const auto used = ops::used_implementations(Backend::simt);
  CHECK(std::find(used.begin(), used.end(), "relu.forward: vector") != used.end());
}
