// How fast the passes between two convolutions are, beside what memory gives: test_kernels "[speed]" (hidden:
// it takes two minutes and wants a machine of its own). docs/results/normquant-cpu.md holds what it printed.
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <numeric>

#include "kernels/catalog/problem_instance.h"
#include "kernels/cpu/policy.h"
#include "tests/kernels/normquant_layer.h"

using namespace rtfq::test;

namespace {

/// Median seconds of a launch over about a fifth of a second.
template <class F>
double seconds(F&& launch) {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  launch();
  std::vector<double> times;
  for (const auto start = Clock::now(); times.size() < 5 || since(start) < 0.2;) {
    const auto one = Clock::now();
    launch();
    times.push_back(since(one));
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

/// 64-byte aligned memory that has been written.
struct Memory {
  explicit Memory(std::size_t bytes) : buffer(std::make_unique<catalog::Buffer>(bytes)) {
    auto* values = buffer->as<uint8_t>();
    for (std::size_t i = 0; i < bytes; ++i)
      values[i] = static_cast<uint8_t>(i % 3);  // tiny, positive, as any type
  }
  void* get() { return buffer->data(); }
  std::unique_ptr<catalog::Buffer> buffer;
};

/// Bytes a second when `reads` arrays are read and one is written past the caches, or none.
template <int reads, bool writes>
double rate() {
  constexpr int64_t bytes = 96 << 20, block = 65536;
  std::vector<Memory> memory;
  for (int i = 0; i < reads + 1; ++i) memory.emplace_back(bytes);
  const std::byte* from[reads];
  for (std::size_t i = 0; i < reads; ++i) from[i] = static_cast<const std::byte*>(memory[i].get());
  auto* const to = static_cast<std::byte*>(memory[reads].get());
  const double time = seconds([&] {
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < bytes / block; ++b) {
      for (int64_t at = b * block; at < (b + 1) * block; at += 32) {
        __m256 sum = _mm256_loadu_ps(reinterpret_cast<const float*>(from[0] + at));
        for (int i = 1; i < reads; ++i)
          sum = _mm256_add_ps(sum, _mm256_loadu_ps(reinterpret_cast<const float*>(from[i] + at)));
        if constexpr (writes)
          cpu::store<true>(reinterpret_cast<float*>(to + at), sum);
        else
          asm volatile("" ::"x"(sum));  // the loads are not left out
      }
      cpu::finish_stores<true>();
    }
  });
  return static_cast<double>(bytes) * (reads + (writes ? 1 : 0)) / time;
}

/// Rates by the number of arrays read, without and with one written.
struct Rates {
  double reading[5] = {}, writing[5] = {};
  Rates() {
    reading[1] = rate<1, false>(), reading[2] = rate<2, false>();
    reading[3] = rate<3, false>(), reading[4] = rate<4, false>();
    writing[1] = rate<1, true>(), writing[2] = rate<2, true>();
    writing[3] = rate<3, true>(), writing[4] = rate<4, true>();
    for (int reads = 1; reads < 5; ++reads) {
      std::printf("memory, %d read: %.1f GB/s; and one written: %.1f GB/s\n", reads, reading[reads] / 1e9,
                  writing[reads] / 1e9);
    }
  }
};

struct Bench {
  const Rates& rates;
  BatchNormShape norm;
  std::size_t bytes;
  std::vector<Memory> memory;
  std::vector<float> channels, sums[3];
  float step = 0.1f, ds = 0, identity_ds = 0;

  Bench(const Rates& measured, const BatchNormShape& s)
      : rates(measured),
        norm(s),
        bytes(static_cast<std::size_t>(s.n * s.hw * s.c) * (s.type == RTFQ_BF16 ? 2 : 4)),
        channels(static_cast<std::size_t>(s.segments * s.c), 0.5f) {
    for (int i = 0; i < 9; ++i) memory.emplace_back(bytes);
    for (auto& sum : sums) sum.resize(channels.size());
  }
  void* at(std::size_t i) { return memory[i].get(); }

  NormQuantInput input(std::size_t i) {
    NormQuantInput in{at(i), channels.data(), channels.data(), {}, {}};
    for (int k = 0; k < norm.segments; ++k)
      in.scale[k] = in.shift[k] = channels.data() + static_cast<std::ptrdiff_t>(k * norm.c);
    return in;
  }

  /// `reads`: arrays read, to choose what memory gives; the best implementation of each kind is timed.
  template <class Op>
  void measure(const char* kinds, const typename Op::Shape& s, typename Op::Args args, int reads,
               bool writes) {
    for (const auto& impl : Op::cpu()) {
      if (impl.unsupported(s) || std::string(impl.name) == "naive") continue;
      catalog::Buffer workspace(impl.workspace(s));
      if constexpr (requires { args.workspace; }) args.workspace = workspace.data();
      const double time = seconds([&] { impl.launch(s, args, {}); }),
                   moved = catalog::declared_cost<Op>(s).bytes;
      const double floor =
          moved / (writes ? rates.writing[std::min(reads, 4)] : rates.reading[std::min(reads, 4)]);
      std::printf("%-4s %5ld %-20s %-16s %-6s %8.1f MB  floor %7.3f ms  %7.3f ms  %5.1f GB/s  %4.0f %%\n",
                  norm.type == RTFQ_BF16 ? "bf16" : "f32", static_cast<long>(norm.c), Op::name, kinds,
                  impl.name, moved / 1e6, floor * 1e3, time * 1e3, moved / time / 1e9, 100 * floor / time);
      std::fflush(stdout);
    }
  }

  void batchnorm() {
    measure<BatchNormStatistics>("", norm, {at(0), sums[0].data(), sums[1].data(), nullptr}, 1, false);
    const NormQuantInput in = input(0);
    BatchNormNormalizeArgs normalize{};
    normalize.x = in.x, normalize.mean = in.mean, normalize.variance = in.variance, normalize.y = at(1);
    std::copy_n(in.scale, norm.segments, normalize.scale);
    std::copy_n(in.shift, norm.segments, normalize.shift);
    measure<BatchNormNormalize>("", norm, normalize, 1, true);
    measure<BatchNormReduce>(
        "", norm, {at(0), at(1), in.mean, in.variance, sums[0].data(), sums[1].data(), nullptr}, 2, false);
    BatchNormApplyArgs apply{at(0), at(1), in.mean, in.variance, in.mean, in.mean, {}, {}, at(2)};
    std::copy_n(in.scale, norm.segments, apply.scale);
    std::fill_n(apply.counts, norm.segments, 1000.0f);
    measure<BatchNormApply>("", norm, apply, 2, true);
  }

  void normquant(rtfq_residual residual, rtfq_identity identity, const char* kinds) {
    const auto s = make_normquant_shape(norm, residual, identity, 15);
    const bool two = residual == RTFQ_RESIDUAL_NORM, sum = residual != RTFQ_RESIDUAL_NONE;
    NormQuantOperands in{};
    in.main = input(0);
    if (two) in.other = input(1);
    in.residual = at(1), in.residual_step = in.main.mean;
    in.step = in.identity_step = &step;
    measure<NormQuantForward>(kinds, s, {in, static_cast<uint8_t*>(at(2)), at(3)}, sum ? 2 : 1, true);
    NormQuantReduceArgs reduce{};
    reduce.in = in, reduce.g_codes = at(4);
    if (identity != RTFQ_IDENTITY_NONE) reduce.g_identity = at(5);
    if (sum) reduce.g_z = at(6);
    reduce.sum_g = sums[0].data(), reduce.sum_gx = sums[1].data(), reduce.other_sum_gx = sums[2].data();
    reduce.ds = &ds, reduce.identity_ds = &identity_ds;
    measure<NormQuantReduce>(kinds, s, reduce, sum ? 4 : 2, sum);
    NormQuantApplyArgs apply{};
    apply.in = in, apply.g_codes = at(4);
    if (sum) apply.g_z = at(6);
    apply.sum_g = apply.sum_gx = apply.other_sum_gx = channels.data();
    std::fill_n(apply.counts, norm.segments, 1000.0f);
    apply.dx = at(7), apply.other_dx = at(8);
    measure<NormQuantApply>(kinds, s, apply, two ? 3 : 2, true);
  }

  void all() {
    batchnorm();
    normquant(RTFQ_RESIDUAL_NONE, RTFQ_IDENTITY_NONE, "");
    normquant(RTFQ_RESIDUAL_CODES, RTFQ_IDENTITY_CODES, "+codes, codes");
    normquant(RTFQ_RESIDUAL_VALUES, RTFQ_IDENTITY_VALUES, "+values, values");
    normquant(RTFQ_RESIDUAL_NORM, RTFQ_IDENTITY_CODES, "+norm, codes");
  }
};

/// About `count` elements in two segments.
BatchNormShape shape_with(int64_t count, int64_t c, rtfq_dtype type) {
  const std::vector<int64_t> ends{4, 8};
  auto s = make_batchnorm_shape(count / 8 / c, c, ends);
  s.type = type;
  return s;
}

}  // namespace

TEST_CASE("speed: norms and fused quantizers beyond the caches", "[.][speed]") {
  const Rates rates;
  for (const auto type : {RTFQ_F32, RTFQ_BF16})
    for (const int64_t c : {16, 64, 256, 1024, 2048}) Bench(rates, shape_with(24 << 20, c, type)).all();
}

TEST_CASE("speed: norms and fused quantizers within the caches", "[.][speed-small]") {
  const Rates rates;
  for (const auto type : {RTFQ_F32, RTFQ_BF16})
    for (const int64_t c : {64, 128, 512}) Bench(rates, shape_with(1 << 18, c, type)).all();
}
