// The fused norm and quantizers beyond the catalog: the bits of the operators that they stand for, one result
// whatever the instructions, the number of threads and the layout.
#include "kernels/normquant.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "kernels/cpu/normquant_layout.h"
#include "tests/kernels/normquant_layer.h"

using namespace rtfq::test;

namespace {

constexpr rtfq_residual residuals[] = {RTFQ_RESIDUAL_NONE, RTFQ_RESIDUAL_VALUES, RTFQ_RESIDUAL_CODES,
                                       RTFQ_RESIDUAL_NORM};
constexpr rtfq_identity identities[] = {RTFQ_IDENTITY_NONE, RTFQ_IDENTITY_CODES, RTFQ_IDENTITY_VALUES};

/// The list's implementations that this processor runs.
std::vector<std::string> names(const NormQuantShape& s) {
  std::vector<std::string> list;
  for (const auto& one : NormQuantForward::cpu())
    if (!one.unsupported(s)) list.emplace_back(one.name);
  return list;
}

NormQuantShape shape_of(int64_t c, rtfq_residual residual, rtfq_identity identity, rtfq_dtype type = RTFQ_F32,
                        int64_t hw = 7) {
  const std::vector<int64_t> ends{2, 5};
  auto norm = make_batchnorm_shape(hw, c, ends);
  norm.type = type;
  return make_normquant_shape(norm, residual, identity, 15);
}

template <class F>
void for_each_kind(F&& f) {
  for (const auto residual : residuals)
    for (const auto identity : identities) f(residual, identity);
}

/// The same sums but for the order of their terms, of which there are `terms`.
void check_close(const Floats& found, const Floats& expected, double terms) {
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    CHECK(found[i] == Approx(expected[i]).epsilon(1e-6).margin(3e-7 * std::sqrt(terms)));
}

Floats channel_sums(const BatchNormShape& s, const Floats& g) {
  std::vector<double> sums(static_cast<std::size_t>(s.segments * s.c));
  for (int64_t i = 0; i < s.n * s.hw * s.c; ++i) {
    const int64_t segment = i / (s.hw * s.c) >= s.segment_end[0] ? 1 : 0;  // of two
    sums[static_cast<std::size_t>(segment * s.c + i % s.c)] +=
        static_cast<double>(g[static_cast<std::size_t>(i)]);
  }
  return {sums.begin(), sums.end()};
}

void check_same(const NormQuantResult& a, const NormQuantResult& b) {
  CHECK(a.codes == b.codes);
  CHECK(a.identity == b.identity);
  CHECK(a.g_z == b.g_z);
  CHECK(same_bits(a.sum_g, b.sum_g));
  CHECK(same_bits(a.sum_gx, b.sum_gx));
  CHECK(same_bits(a.other_sum_gx, b.other_sum_gx));
  CHECK(same_bits(a.steps, b.steps));
  CHECK(a.dx == b.dx);
  CHECK(a.other_dx == b.other_dx);
}

}  // namespace

TEST_CASE("normquant: shapes are checked") {
  const auto norm = make_batchnorm_shape(2, 3, 4);
  const auto with = [&](int qp, int identity_qp) {
    return make_normquant_shape(norm, RTFQ_RESIDUAL_NONE, RTFQ_IDENTITY_CODES, qp, identity_qp);
  };
  CHECK_THROWS_WITH(with(0, 255), Catch::Contains("[normquant] expected qp in [1, 255], got 0"));
  CHECK_THROWS_WITH(with(256, 255), Catch::Contains("expected qp in [1, 255], got 256"));
  CHECK_THROWS_WITH(with(15, 0), Catch::Contains("expected identity_qp in [1, 255], got 0"));
  CHECK(with(255, 1).identity_qp == 1);
}

TEST_CASE("normquant: the bits of the unfused operators") {
  for (const int64_t c : {3, 16, 40, 65, 520, 1030, 2048})
    for_each_kind([&](rtfq_residual residual, rtfq_identity identity) {
      NormQuantLayer layer(shape_of(c, residual, identity));
      const bool only_one_gradient = c == 65;
      if (only_one_gradient) layer.has_g_identity = false;
      for (const auto& name : names(layer.shape)) {
        INFO(name << ", " << c << " channels, residual " << residual << ", identity " << identity);
        const auto found = layer.run(name), expected = layer.unfused(found);
        CHECK(found.codes == expected.codes);
        CHECK(found.identity == expected.identity);
        CHECK(floats_of(found.g_z, RTFQ_F32) == floats_of(expected.g_z, RTFQ_F32));  // -0 equals 0
        CHECK(found.dx == expected.dx);
        CHECK(found.other_dx == expected.other_dx);
        check_close(found.sum_g, expected.sum_g, 350);
        check_close(found.sum_gx, expected.sum_gx, 1000);
        check_close(found.other_sum_gx, expected.other_sum_gx, 1000);
        // Sums of g*t over everything: terms of up to qp, rounded at the scale of some dozens of them.
        const double terms = 1e-6 * std::sqrt(static_cast<double>(layer.count()));
        CHECK(found.steps[0] ==
              Approx(expected.steps[0]).margin(terms * 0.01 * layer.shape.qp).epsilon(1e-6));
        CHECK(found.steps[1] ==
              Approx(expected.steps[1]).margin(terms * 0.02 * layer.shape.identity_qp).epsilon(1e-6));
      }
    });
}

TEST_CASE("normquant: bf16 operands give the codes and gradients of the same numbers in f32") {
  for (const int64_t c : {5, 24, 128, 1040})
    for_each_kind([&](rtfq_residual residual, rtfq_identity identity) {
      NormQuantLayer layer(shape_of(c, residual, identity, RTFQ_BF16));
      layer.stores_g_z = residual != RTFQ_RESIDUAL_NONE;
      const NormQuantLayer wide = layer.widened();
      for (const auto& name : names(layer.shape)) {
        INFO(name << ", " << c << " channels, residual " << residual << ", identity " << identity);
        const auto found = layer.run(name);
        auto expected = wide.run(name);
        const auto narrow = [](const Bytes& bytes) {
          return bytes_of(floats_of(bytes, RTFQ_F32), RTFQ_BF16);
        };
        CHECK(found.codes == expected.codes);
        CHECK(found.identity ==
              (identity == RTFQ_IDENTITY_VALUES ? narrow(expected.identity) : expected.identity));
        CHECK(same_bits(found.steps, expected.steps));
        CHECK(found.g_z == narrow(expected.g_z));
        // Sums are of the rounded g_z, and apply reads it.
        if (layer.stores_g_z) {
          expected.g_z = bytes_of(floats_of(found.g_z, RTFQ_BF16), RTFQ_F32);
          check_close(found.sum_g, channel_sums(layer.shape.norm, floats_of(found.g_z, RTFQ_BF16)), 35);
        } else {
          CHECK(same_bits(found.sum_g, expected.sum_g));
          CHECK(same_bits(found.sum_gx, expected.sum_gx));
        }
        expected.sum_g = found.sum_g, expected.sum_gx = found.sum_gx,
        expected.other_sum_gx = found.other_sum_gx;
        wide.apply(name, expected);
        CHECK(found.dx == narrow(expected.dx));
        CHECK(found.other_dx == narrow(expected.other_dx));
      }
    });
}

TEST_CASE("normquant: g_z need not be stored") {
  for (const auto type : {RTFQ_F32, RTFQ_BF16})
    for_each_kind([&](rtfq_residual residual, rtfq_identity identity) {
      NormQuantLayer stored(shape_of(40, residual, identity, type));
      NormQuantLayer again = stored;
      again.stores_g_z = false;
      if (type == RTFQ_BF16 && identity != RTFQ_IDENTITY_NONE)
        return;  // a sum of two gradients is rounded or not
      for (const auto& name : names(stored.shape)) {
        INFO(name << ", residual " << residual << ", identity " << identity);
        auto expected = stored.run(name), found = again.run(name);
        expected.g_z.clear();
        check_same(found, expected);
      }
    });
}

TEST_CASE("normquant: the same bits with AVX2 and AVX-512") {
  for (const auto type : {RTFQ_F32, RTFQ_BF16})
    for (const int64_t c : {7, 48, 136, 1100})
      for_each_kind([&](rtfq_residual residual, rtfq_identity identity) {
        const NormQuantLayer layer(shape_of(c, residual, identity, type));
        const auto all = names(layer.shape);
        if (all.size() < 3) return;  // avx512, avx2, naive
        INFO(c << " channels, residual " << residual << ", identity " << identity);
        check_same(layer.run("avx512"), layer.run("avx2"));
      });
}

TEST_CASE("normquant: null gradients are zero") {
  for_each_kind([&](rtfq_residual residual, rtfq_identity identity) {
    NormQuantLayer none(shape_of(24, residual, identity));
    none.has_g_codes = none.has_g_identity = false;
    NormQuantLayer zeros = none;
    zeros.has_g_codes = zeros.has_g_identity = true;
    std::fill(zeros.g_codes.begin(), zeros.g_codes.end(), uint8_t{0});
    std::fill(zeros.g_identity.begin(), zeros.g_identity.end(), uint8_t{0});
    for (const auto& name : names(none.shape)) {
      INFO(name << ", residual " << residual << ", identity " << identity);
      check_same(none.run(name), zeros.run(name));
    }
  });
}

TEST_CASE("normquant: bits do not depend on the number of threads") {
  for (const int64_t c : {24, 64, 1040})
    for (const auto type : {RTFQ_F32, RTFQ_BF16}) {
      const NormQuantLayer layer(shape_of(c, RTFQ_RESIDUAL_NORM, RTFQ_IDENTITY_CODES, type,
                                          c > 100 ? 300 : 2000));  // several blocks each
      for (const auto& name : names(layer.shape)) {
        if (name == "naive") continue;
        INFO(name << ", " << c << " channels");
        CHECK(independent_of_threads([&] {
          auto r = layer.run(name);
          std::vector<uint8_t> all(r.codes.begin(), r.codes.end());
          for (const Bytes& more : {r.identity, r.g_z, r.dx, r.other_dx, bytes_of(r.sum_g, RTFQ_F32),
                                    bytes_of(r.sum_gx, RTFQ_F32), bytes_of(r.other_sum_gx, RTFQ_F32),
                                    bytes_of(r.steps, RTFQ_F32)})
            all.insert(all.end(), more.begin(), more.end());
          return all;
        }));
      }
    }
}

TEST_CASE("normquant: results that are stored past the caches are the same") {
  // A power of two of equal images: means of sums, and so all results, are an image's.
  constexpr int64_t times = 256;
  for (const auto& [residual, identity] : {std::pair{RTFQ_RESIDUAL_NORM, RTFQ_IDENTITY_VALUES},
                                           {RTFQ_RESIDUAL_NONE, RTFQ_IDENTITY_NONE},
                                           {RTFQ_RESIDUAL_CODES, RTFQ_IDENTITY_CODES}}) {
    auto norm = make_batchnorm_shape(1, 64, 1024);
    norm.type = RTFQ_BF16;
    const NormQuantLayer one(make_normquant_shape(norm, residual, identity, 15)), many = one.repeated(times);
    for (const auto& name : names(one.shape)) {
      if (name == "naive") continue;
      INFO(name << ", residual " << residual);
      const auto expected = one.run(name);
      NormQuantResult found;
      many.forward(name, found);
      many.reduce(name, found);
      REQUIRE(cpu::streams_codes(many.shape, found.codes.data(), found.identity.data()));
      REQUIRE(cpu::streams_gradient(many.shape, found.g_z.data(), {}));
      CHECK(found.codes == NormQuantLayer::repeat(expected.codes, times));
      CHECK(found.identity == NormQuantLayer::repeat(expected.identity, times));
      CHECK(found.g_z == NormQuantLayer::repeat(expected.g_z, times));
      found.sum_g = expected.sum_g, found.sum_gx = expected.sum_gx,
      found.other_sum_gx = expected.other_sum_gx;
      for (Floats* sums : {&found.sum_g, &found.sum_gx, &found.other_sum_gx})
        for (float& sum : *sums) sum *= static_cast<float>(times);
      many.apply(name, found);
      CHECK(found.dx == NormQuantLayer::repeat(expected.dx, times));
      CHECK(found.other_dx == NormQuantLayer::repeat(expected.other_dx, times));
    }
  }
}
