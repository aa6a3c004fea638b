// Convolutions that take the statistics of their result along, on the executor of CUDA kernels, beside the
// same convolution and a norm that reads its result.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "engine/ops/quantized.h"
#include "engine/ops/used.h"
#include "kernels/conv2d.h"
#include "kernels/tf32.h"
#include "tests/support/numeric.h"

using namespace rtfq;
using test::normal;

namespace {

const Device simt{Backend::simt, 0};

std::vector<ops::NormSegment> segments_of(const std::vector<int64_t>& ends, int64_t c, Device device) {
  std::vector<ops::NormSegment> segments;
  for (const int64_t end : ends)
    segments.push_back(
        {end, Tape::constant(normal({c}, 1).to(device)), Tape::constant(normal({c}, 2).to(device))});
  return segments;
}

std::vector<float> numbers(const Tensor& t) {
  Tape quiet(false, compute_stream(t.device()));
  return ops::convert(quiet, Tape::constant(t), DType::f32).data.to_vector();
}

/// |a - b| <= 1e-6 of the greatest |b|: sums in f32 in another order.
void check_close(const Tensor& a, const Tensor& b) {
  const auto found = a.to_vector(), expected = b.to_vector();
  REQUIRE(found.size() == expected.size());
  double top = 0, worst = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    top = std::max(top, std::abs(double{expected[i]}));
    worst = std::max(worst, std::abs(double{found[i]} - double{expected[i]}));
  }
  CHECK(top > 0);
  CHECK(worst <= 1e-6 * top);
}

/// The convolution is `convolve(statistics)`, or with nullptr the plain one.
template <class Convolve>
void check_same(const std::vector<int64_t>& ends, const Convolve& convolve) {
  ops::BatchStatistics taken{ends, {}, {}};
  const Variable together = convolve(&taken), apart = convolve(nullptr);
  REQUIRE(taken.mean.defined());
  CHECK(numbers(together.data) == numbers(apart.data));
  const auto segments = segments_of(ends, apart.data.dim(3), simt);
  const Stream stream = compute_stream(simt);
  const auto found = ops::norm_statistics(stream, together.data, segments, 1e-5f, taken),
             expected = ops::norm_statistics(stream, apart.data, segments, 1e-5f);
  check_close(found.mean, expected.mean);
  check_close(found.variance, expected.variance);
  CHECK(found.counts == expected.counts);
}

struct Codes {
  ops::Quantized x;
  ops::QuantizedWeight w;
  Codes(Tape& t, int64_t n, Device device) {
    const auto step = [&](float value) {
      return Tape::constant(Tensor::from(std::vector<float>{value}, {1}, device));
    };
    x = ops::quantize(t, Tape::constant(normal({n, 6, 6, 16}, 3).to(device)),
                      {step(0.02f), kernels::quant_bounds(8, false), 0.01f});
    w = ops::quantize_weight(t, Tape::constant(normal({24, 3, 3, 16}, 4).to(device)),
                             {step(0.11f), kernels::quant_bounds(4, true), 0.01f});
  }
};

bool has_used(Backend backend, const std::string& what) {
  const auto used = ops::used_implementations(backend);
  return std::any_of(used.begin(), used.end(),
                     [&](const std::string& line) { return line.rfind(what, 0) == 0; });
}

}  // namespace

TEST_CASE("convstatistics on simt: a convolution of codes and its statistics, at once and one by one") {
  Tape tape(false, compute_stream(simt));
  const Codes codes(tape, 5, simt);
  for (const DType type : {DType::f32, DType::bf16})
    for (const std::vector<int64_t>& ends : {std::vector<int64_t>{5}, {2, 3, 5}})
      check_same(ends, [&](ops::BatchStatistics* taken) {
        return taken ? ops::conv2d(tape, codes.x, codes.w, 1, type, *taken)
                     : ops::conv2d(tape, codes.x, codes.w, 1, type);
      });
  CHECK(has_used(Backend::simt, "convstatistics.forward: mma_codes"));
}

TEST_CASE("convstatistics on simt: a stem in bf16 and its statistics, at once and one by one") {
  Tape tape(false, compute_stream(simt));
  const Variable x = ops::convert(tape, Tape::constant(normal({4, 12, 12, 3}, 5).to(simt)), DType::bf16);
  const Variable w = Tape::constant(normal({16, 5, 5, 3}, 6).to(simt));
  check_same({3, 4}, [&](ops::BatchStatistics* taken) {
    return taken ? ops::conv2d(tape, x, w, 2, *taken) : ops::conv2d(tape, x, w, 2);
  });
  CHECK(has_used(Backend::simt, "convstatistics.forward: mma_bf16_folded"));
}

TEST_CASE("convstatistics on simt: a convolution in TF32 and its statistics, at once and one by one") {
  const kernels::ScopedTf32 scope(true);
  Tape tape(false, compute_stream(simt));
  const Variable w = Tape::constant(normal({24, 3, 3, 16}, 7).to(simt));
  for (const int64_t size : {1, 7}) {
    const Variable x = Tape::constant(normal({8, size, size, 16}, 8).to(simt));
    check_same({4, 8}, [&](ops::BatchStatistics* taken) {
      return taken ? ops::conv2d(tape, x, w, 1, *taken) : ops::conv2d(tape, x, w, 1);
    });
  }
  CHECK(has_used(Backend::simt, "convstatistics.forward: tf32"));
}

TEST_CASE("convstatistics: what fuses nothing runs the convolution alone, and the norm reads its result") {
  Tape host(false, compute_stream({}));
  const Codes on_cpu(host, 2, {});
  ops::BatchStatistics taken{{1, 2}, {}, {}};
  ops::conv2d(host, on_cpu.x, on_cpu.w, 1, DType::f32, taken);
  CHECK_FALSE(taken.mean.defined());
  CHECK_FALSE(has_used(Backend::cpu, "convstatistics"));

  Tape tape(false, compute_stream(simt));
  const Codes codes(tape, 2, simt);
  ops::conv2d(tape, codes.x, codes.w, 1, DType::f32, taken);
  CHECK(taken.mean.defined());
  // Asked for by name, the plain convolution runs, and what was taken before is gone.
  kernels::prefer("conv2d.forward", "mma_codes_64x64");
  const Variable y = ops::conv2d(tape, codes.x, codes.w, 1, DType::f32, taken);
  kernels::prefer("conv2d.forward", "");
  CHECK_FALSE(taken.mean.defined());

  ops::BatchStatistics other{{2}, {}, {}};
  ops::conv2d(tape, codes.x, codes.w, 1, DType::f32, other);
  CHECK_THROWS_WITH(ops::norm_statistics(tape.stream(), y.data, segments_of({1, 2}, 24, simt), 1e-5f, other),
                    Catch::Contains("[batchnorm] statistics were taken of [1,24]"));
}
