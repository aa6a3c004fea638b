// Fake-quant's CUDA kernels against the CPU's, bit for bit, and across schedules.
#include "kernels/fakequant.h"

#include <catch2/catch.hpp>

#include "kernels/simt/executor.h"
#include "tests/kernels/launch.h"

using namespace rtfq;
using namespace rtfq::kernels;
using rtfq::kernels::catalog::Buffer;
using rtfq::test::normal;
using rtfq::test::same_bits;

namespace {

struct Result {
  std::vector<float> y, dx, ds, sums;
  std::vector<uint8_t> codes;
};

/// All three operators on the same operands. Pointers are `shift` floats off 16-byte boundaries.
Result run(Backend backend, const FakeQuantShape& s, const std::vector<float>& step, int64_t parent,
           int shift = 0) {
  const auto n = static_cast<std::size_t>(count(s)), off = static_cast<std::size_t>(shift);
  const auto filled = [&](int64_t size, uint64_t seed, float scale) {
    auto buffer = std::make_unique<Buffer>((static_cast<std::size_t>(size) + off) * 4);
    const auto values = normal(size, seed);
    for (std::size_t i = 0; i < values.size(); ++i) buffer->as<float>()[off + i] = scale * values[i];
    return buffer;
  };
  const auto x = filled(parent, 1, 3 * step[0]), g = filled(count(s), 2, 1);
  Buffer y((n + off) * 4), codes(n + off), dx((static_cast<std::size_t>(parent) + off) * 4);
  Result r;
  r.ds.assign(step.size(), 0.5f);
  r.sums.assign(step.size(), 0.0f);
  const Stream stream{{backend, 0}};
  const auto workspace = [&](const auto& implementation) {
    return std::make_unique<Buffer>(implementation.workspace(s));
  };

  const auto& forward = choose<FakeQuantForward>(backend, s);
  forward.launch(s, {x->as<float>() + off, step.data(), y.as<float>() + off, codes.as<uint8_t>() + off},
                 stream);
  const auto& backward = choose<FakeQuantBackward>(backend, s);
  const auto backward_space = workspace(backward);
  backward.launch(s,
                  {g->as<float>() + off, x->as<float>() + off, step.data(), dx.as<float>() + off, false,
                   r.ds.data(), 0.125f, backward_space->data()},
                  stream);
  const auto& sum = choose<AbsSum>(backend, s);
  const auto sum_space = workspace(sum);
  sum.launch(s, {x->as<float>() + off, r.sums.data(), sum_space->data()}, stream);

  CHECK((y.guards_intact() && codes.guards_intact() && dx.guards_intact() &&
         backward_space->guards_intact() && sum_space->guards_intact()));
  r.y.assign(y.as<float>() + off, y.as<float>() + off + n);
  r.codes.assign(codes.as<uint8_t>() + off, codes.as<uint8_t>() + off + n);
  // What lies between lines keeps its poison on both backends.
  r.dx.assign(dx.as<float>() + off, dx.as<float>() + off + parent);
  return r;
}

}  // namespace

TEST_CASE("fakequant on simt: codes, values and dx have the CPU's bits") {
  for (int bits = 2; bits <= 8; ++bits)
    for (const bool is_signed : {false, true})
      for (const bool per_row : {false, true}) {
        const QuantBounds bounds = quant_bounds(bits, is_signed);
        for (const int64_t c : {7, 24}) {
          const FakeQuantShape s = make_fakequant_weight_shape(5, 9, c, 32, bounds, per_row);
          const std::vector<float> step(static_cast<std::size_t>(steps(s)), 0.0371f);
          for (const int shift : {0, 1}) {
            INFO(bits << " bits, signed " << is_signed << ", per row " << per_row << ", c " << c << ", shift "
                      << shift);
            const Result want = run(Backend::cpu, s, step, 5 * 9 * 32, shift);
            const Result got = run(Backend::simt, s, step, 5 * 9 * 32, shift);
            CHECK(same_bits(got.codes, want.codes));
            CHECK(same_bits(got.y, want.y));
            CHECK(same_bits(got.dx, want.dx));
            for (std::size_t i = 0; i < step.size(); ++i) {
              CHECK(got.ds[i] == Approx(want.ds[i]).epsilon(1e-5).margin(1e-5));
              CHECK(got.sums[i] == Approx(want.sums[i]).epsilon(1e-5));
            }
          }
        }
      }
}

TEST_CASE("fakequant on simt: sums are the same bits under every schedule and number of threads") {
  const FakeQuantShape s = make_fakequant_shape(20003, quant_bounds(4, true));
  const simt::ScopedOptions scope;
  simt::options().seed = 1;
  const Result want = run(Backend::simt, s, {0.037f}, 20003);
  for (uint64_t seed = 2; seed <= 8; ++seed) {
    simt::options().seed = seed;
    simt::options().os_threads = seed % 2 ? 1 : 3;
    const Result got = run(Backend::simt, s, {0.037f}, 20003);
    CHECK(same_bits(got.ds, want.ds));
    CHECK(same_bits(got.sums, want.sums));
  }
}

TEST_CASE("fakequant on simt: a step size below the least normal inverse behaves as on the CPU") {
  const FakeQuantShape s = make_fakequant_shape(333, quant_bounds(8, true));
  for (const float step : {0x1p-60f, 0x1p+60f, 1e-30f}) {
    const Result want = run(Backend::cpu, s, {step}, 333), got = run(Backend::simt, s, {step}, 333);
    CHECK(same_bits(got.codes, want.codes));
    CHECK(same_bits(got.y, want.y));
  }
}

TEST_CASE("fakequant on simt: refused shapes are named") {
  FakeQuantShape s = make_fakequant_shape(8, quant_bounds(4, true));
  s.type = RTFQ_U8;
  CHECK_THROWS_WITH(
      choose<FakeQuantForward>(Backend::simt, s),
      Catch::Contains("[fakequant.forward]") && Catch::Contains("vector: takes f32, bf16 and f16 operands only"));
  CHECK(choose<FakeQuantForward>(Backend::simt, make_fakequant_shape(8, quant_bounds(4, true))).name ==
        std::string("vector"));
}
