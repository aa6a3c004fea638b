// The CUDA kernels of norms against the CPU's, bit for bit where one element decides a result, and across
// schedules where sums do.
#include <catch2/catch.hpp>

#include "kernels/simt/executor.h"
#include "tests/kernels/normquant_layer.h"

using namespace rtfq;
using namespace rtfq::test;

namespace {

NormQuantShape shape_of(int64_t c, rtfq_residual residual, rtfq_identity identity, rtfq_dtype type,
                        int64_t hw = 7) {
  const std::vector<int64_t> ends{2, 5};
  auto norm = make_batchnorm_shape(hw, c, ends);
  norm.type = type;
  return make_normquant_shape(norm, residual, identity, 15);
}

template <class F>
void for_each_kind(F&& f) {
  for (const auto residual :
       {RTFQ_RESIDUAL_NONE, RTFQ_RESIDUAL_VALUES, RTFQ_RESIDUAL_CODES, RTFQ_RESIDUAL_NORM})
    for (const auto identity : {RTFQ_IDENTITY_NONE, RTFQ_IDENTITY_CODES, RTFQ_IDENTITY_VALUES})
      for (const auto type : {RTFQ_F32, RTFQ_BF16}) {
        INFO("residual " << residual << ", identity " << identity << ", type " << type);
        f(residual, identity, type);
      }
}

/// By the executor: forward, reduce, and apply with the sums of `sums`.
NormQuantResult on_simt(NormQuantLayer layer, const NormQuantResult& sums) {
  layer.backend = Backend::simt;
  NormQuantResult r;
  layer.forward("rows", r);
  layer.reduce("blocks", r);
  NormQuantResult applied = r;
  applied.sum_g = sums.sum_g, applied.sum_gx = sums.sum_gx, applied.other_sum_gx = sums.other_sum_gx;
  layer.apply("rows", applied);
  r.dx = applied.dx, r.other_dx = applied.other_dx;
  return r;
}

void check_elements(const NormQuantResult& found, const NormQuantResult& expected) {
  CHECK(found.codes == expected.codes);
  CHECK(found.identity == expected.identity);
  CHECK(found.g_z == expected.g_z);
  CHECK(found.dx == expected.dx);
  CHECK(found.other_dx == expected.other_dx);
}

}  // namespace

TEST_CASE("norms on simt: codes, identity, g_z and dx of the fused passes have the CPU's bits") {
  for (const int64_t c : {3, 40, 264, 520})
    for_each_kind([&](rtfq_residual residual, rtfq_identity identity, rtfq_dtype type) {
      INFO(c << " channels");
      const NormQuantLayer layer(shape_of(c, residual, identity, type));
      const auto expected = layer.run("avx2");
      check_elements(on_simt(layer, expected), expected);
    });
}

TEST_CASE("norms on simt: operands that start on no 16 bytes are taken one element at a time") {
  for_each_kind([&](rtfq_residual residual, rtfq_identity identity, rtfq_dtype type) {
    const NormQuantLayer layer(shape_of(64, residual, identity, type));
    const auto expected = layer.run("avx2");
    NormQuantLayer moved = layer;
    moved.skipped = type == RTFQ_BF16 ? 2 : 4;
    moved.x.insert(moved.x.begin(), static_cast<std::size_t>(moved.skipped), uint8_t{0});
    auto found = on_simt(moved, expected);
    for (Bytes* longer : {&found.identity, &found.g_z, &found.dx, &found.other_dx})
      if (longer->size() == moved.x.size()) longer->resize(layer.x.size());
    check_elements(found, expected);
  });
}

TEST_CASE("norms on simt: sums are the same bits under every schedule and number of threads") {
  const simt::ScopedOptions scope;
  for (const auto type : {RTFQ_F32, RTFQ_BF16}) {
    // Several blocks a segment.
    NormQuantLayer layer(shape_of(40, RTFQ_RESIDUAL_NORM, RTFQ_IDENTITY_CODES, type, 300));
    layer.backend = Backend::simt;
    const auto sums = [&] {
      NormQuantResult r;
      layer.reduce("blocks", r);
      const auto& statistics = implementation<BatchNormStatistics>("blocks", Backend::simt);
      catalog::Buffer workspace(statistics.workspace(layer.shape.norm));
      Floats mean(layer.channels()), variance(layer.channels());
      statistics.launch(layer.shape.norm, {layer.x.data(), mean.data(), variance.data(), workspace.data()},
                        {{Backend::simt, 0}});
      CHECK(workspace.guards_intact());
      Floats all;
      for (const Floats& more : {r.sum_g, r.sum_gx, r.other_sum_gx, r.steps, mean, variance})
        all.insert(all.end(), more.begin(), more.end());
      return all;
    };
    simt::options().seed = 1;
    simt::options().os_threads = 1;
    const Floats expected = sums();
    for (uint64_t seed = 2; seed <= 6; ++seed) {
      simt::options().seed = seed;
      simt::options().os_threads = seed % 2 ? 1 : 3;
      CHECK(same_bits(sums(), expected));
    }
  }
}
