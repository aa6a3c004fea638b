// A convolution with the statistics of its result in CUDA: what is fused where, and that sums do not depend
// on the order of threads.
#include "kernels/convstatistics.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>

#include "kernels/catalog/typed.h"
#include "kernels/simt/executor.h"
#include "kernels/tf32.h"
#include "tests/kernels/launch.h"

using namespace rtfq;
using namespace rtfq::kernels;

namespace {

ConvStatisticsShape shape_of(int64_t n, int64_t size, int64_t c, int64_t k, rtfq_dtype x, rtfq_dtype w,
                             std::vector<int64_t> ends) {
  const auto conv = make_conv2d_shape(n, size, size, c, k, 3, 1, 1, c);
  return make_convstatistics_shape(with_types(conv, x, w, x == RTFQ_F32 ? RTFQ_F32 : RTFQ_BF16), ends);
}
std::string chosen(const ConvStatisticsShape& s) {
  return choose<ConvStatisticsForward>(Backend::simt, s).name;
}

/// y, then means and variances, by an implementation on operands of small integers.
std::vector<uint8_t> results_of(const ConvStatisticsShape& s, const char* name, uint64_t seed) {
  simt::options().seed = seed;
  const Conv2dShape& conv = s.conv;
  const auto fill = [](catalog::Buffer& buffer, rtfq_dtype type, uint64_t of) {
    const auto values = test::exact(static_cast<int64_t>(buffer.bytes()) / element_bytes(type), of);
    for (std::size_t i = 0; i < values.size(); ++i) catalog::store(type, values[i], buffer.data(), i);
  };
  const auto bytes = [](rtfq_dtype type, int64_t count) {
    return static_cast<std::size_t>(element_bytes(type) * count);
  };
  catalog::Buffer x(bytes(conv.x_type, conv.n * conv.h * conv.w * conv.c)),
      w(bytes(conv.w_type, conv.k * conv.r * conv.s * conv.c)), scale(bytes(RTFQ_F32, conv.k));
  fill(x, conv.x_type, 1);
  fill(w, conv.w_type, 2);
  std::fill_n(scale.as<float>(), conv.k, 0.0137f);
  const auto& impl = test::implementation<ConvStatisticsForward>(name, Backend::simt);
  const Stream stream{{Backend::simt, 0}, nullptr};
  catalog::Buffer workspace(impl.workspace(s)), packed(impl.packed(s));
  if (packed.bytes()) impl.pack(s, w.data(), packed.data(), stream);
  const std::size_t y_bytes = bytes(conv.y_type, conv.n * output_height(conv) * output_width(conv) * conv.k),
                    figure_bytes = bytes(RTFQ_F32, s.segments * conv.k);
  std::vector<uint8_t> results(y_bytes + 2 * figure_bytes);
  catalog::Buffer y(y_bytes), mean(figure_bytes), variance(figure_bytes);
  impl.launch(s,
              {x.data(), packed.bytes() ? packed.data() : w.data(), y.data(), workspace.data(),
               conv.w_type == RTFQ_S8 ? scale.as<float>() : nullptr, mean.as<float>(), variance.as<float>()},
              stream);
  runtime::synchronize(stream);
  auto* to = std::copy_n(y.as<uint8_t>(), y_bytes, results.data());
  to = std::copy_n(mean.as<uint8_t>(), figure_bytes, to);
  std::copy_n(variance.as<uint8_t>(), figure_bytes, to);
  return results;
}

struct Preference {
  std::string op;
  Preference(std::string of, const std::string& name) : op(std::move(of)) { prefer(op, name); }
  ~Preference() { prefer(op, ""); }
};

}  // namespace

TEST_CASE("convstatistics on a GPU: fused but for what wgmma takes and what has no tensor cores") {
  const auto codes = shape_of(64, 14, 128, 128, RTFQ_U8, RTFQ_S8, {32, 64}),
             many_codes = shape_of(64, 28, 256, 256, RTFQ_U8, RTFQ_S8, {64}),
             bf16 = shape_of(64, 14, 128, 128, RTFQ_BF16, RTFQ_F32, {64}),
             stem = shape_of(64, 32, 3, 32, RTFQ_BF16, RTFQ_F32, {32, 64}),
             f32 = shape_of(64, 14, 128, 128, RTFQ_F32, RTFQ_F32, {64});
  CHECK(chosen(codes) == "mma_codes");
  CHECK(chosen(stem) == "mma_bf16_folded");
  CHECK(fuses_statistics(Backend::simt, codes));
  CHECK(fuses_statistics(Backend::simt, stem));
  for (const auto* s : {&many_codes, &bf16, &f32}) {
    CHECK(chosen(*s) == "one_by_one");
    CHECK_FALSE(fuses_statistics(Backend::simt, *s));
  }
  {
    const ScopedTf32 scope(true);
    CHECK(chosen(f32) == "tf32");
    CHECK(fuses_statistics(Backend::simt, f32));
  }
  CHECK(choose<Conv2dForward>(Backend::simt, many_codes.conv).name == std::string("wgmma"));
  const auto& mma = test::implementation<ConvStatisticsForward>("mma_bf16", Backend::simt);
  CHECK(mma.unsupported(bf16) == std::string("leaves it to wgmma: name a tile"));
  CHECK(test::implementation<ConvStatisticsForward>("mma_bf16_128x128", Backend::simt).unsupported(bf16) ==
        nullptr);
  // Who names an implementation of one of the two gets it, and the fused one can be declined.
  for (const auto& [op, name] : {std::pair{"conv2d.forward", "naive"},
                                 {"batchnorm.statistics", "naive"},
                                 {"convstatistics.forward", "one_by_one"}}) {
    const Preference preferred(op, name);
    CHECK_FALSE(fuses_statistics(Backend::simt, codes));
  }
}

TEST_CASE("convstatistics on simt: the same bits under every order of threads") {
  const simt::ScopedOptions scope;
  const auto s = shape_of(5, 7, 16, 24, RTFQ_S8, RTFQ_S8, {2, 3, 5});
  for (const char* name : {"mma_codes_128x128", "mma_codes_64x64"}) {
    const auto first = results_of(s, name, 1);
    for (uint64_t seed = 2; seed <= 8; ++seed) CHECK(results_of(s, name, seed) == first);
  }
}

TEST_CASE("convstatistics on simt: by cost in bf16, for GPUs without wgmma, the bits of the tile by name") {
  const simt::ScopedOptions scope;
  const auto s = shape_of(3, 7, 16, 24, RTFQ_BF16, RTFQ_F32, {1, 3});
  CHECK(results_of(s, "mma_bf16", 1) == results_of(s, "mma_bf16_64x64", 2));
}
