// A convolution with the statistics of its result in CUDA: what is fused where, and that sums do not depend
// on the order of threads.
#include "kernels/convstatistics.h"

#include <catch2/catch.hpp>
#include <string>

#include "kernels/simt/executor.h"
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
  std::vector<int8_t> x, w;
  for (const float v : test::normal(s.conv.n * s.conv.h * s.conv.w * s.conv.c, 1))
    x.push_back(static_cast<int8_t>(30 * v));
  for (const float v : test::normal(s.conv.k * s.conv.r * s.conv.s * s.conv.c, 2))
    w.push_back(static_cast<int8_t>(30 * v));
  const std::vector<float> scale(static_cast<std::size_t>(s.conv.k), 0.0137f);
  for (const char* name : {"mma_codes_128x128", "mma_codes_64x64"}) {
    const auto& impl = test::implementation<ConvStatisticsForward>(name, Backend::simt);
    const auto run = [&](uint64_t seed) {
      simt::options().seed = seed;
      catalog::Buffer workspace(impl.workspace(s)), x_here(x.size()), w_here(w.size()),
          scale_here(4 * scale.size()), y(2 * 5 * 7 * 7 * 24);
      std::copy(x.begin(), x.end(), x_here.as<int8_t>());
      std::copy(w.begin(), w.end(), w_here.as<int8_t>());
      std::copy(scale.begin(), scale.end(), scale_here.as<float>());
      std::vector<float> figures(2 * 3 * 24);
      impl.launch(s,
                  {x_here.data(), w_here.data(), y.data(), workspace.data(), scale_here.as<float>(),
                   figures.data(), figures.data() + 3 * 24},
                  {{Backend::simt, 0}, nullptr});
      runtime::synchronize({{Backend::simt, 0}, nullptr});
      return figures;
    };
    const auto first = run(1);
    for (uint64_t seed = 2; seed <= 8; ++seed) CHECK(test::same_bits(run(seed), first));
  }
}
