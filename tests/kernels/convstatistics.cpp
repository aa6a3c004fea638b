// A convolution with statistics on the CPU: the same bits as the two operators, and shapes that are none.
#include "kernels/convstatistics.h"

#include <catch2/catch.hpp>

#include "tests/kernels/launch.h"

using namespace rtfq::kernels;
using namespace rtfq::test;

namespace {

/// y, mean and variance.
struct Results {
  std::vector<float> y, mean, variance;
  Results(const ConvStatisticsShape& s, int64_t outputs)
      : y(static_cast<std::size_t>(outputs)),
        mean(static_cast<std::size_t>(s.segments * s.conv.k)),
        variance(mean.size()) {}
};

/// Runs the implementation that is chosen, with workspace and packed weights of its own.
template <class Op>
void run(const typename Op::Shape& shape, typename Op::Args args, const void* weights) {
  const auto& chosen = choose<Op>(Backend::cpu, shape);
  catalog::Buffer workspace(chosen.workspace(shape));
  args.workspace = workspace.data();
  const Packed<Op> packed(chosen, shape, weights);
  args.packed = packed.get();
  chosen.launch(shape, args, {});
  CHECK(workspace.guards_intact());
}

}  // namespace

TEST_CASE("convstatistics: on the CPU the bits of the convolution and the statistics, one by one") {
  const std::vector<int64_t> ends{2, 3};
  const auto s = make_convstatistics_shape(make_conv2d_shape(3, 9, 8, 6, 10, 3, 1, 1, 6), ends);
  const auto x = normal(s.conv.n * s.conv.h * s.conv.w * s.conv.c, 1),
             w = normal(s.conv.k * s.conv.r * s.conv.s * s.conv.c, 2);
  const BatchNormShape norm = statistics_shape(s);
  CHECK(norm.n * norm.hw * norm.c == 3 * 9 * 8 * 10);
  CHECK(count(norm, 0) == 2 * 9 * 8);
  Results together(s, norm.n * norm.hw * norm.c), apart = together;
  run<ConvStatisticsForward>(s,
                             {x.data(), nullptr, together.y.data(), nullptr, nullptr, together.mean.data(),
                              together.variance.data()},
                             w.data());
  run<Conv2dForward>(s.conv, {x.data(), nullptr, apart.y.data(), nullptr}, w.data());
  const auto& statistics = choose<BatchNormStatistics>(Backend::cpu, norm);
  catalog::Buffer workspace(statistics.workspace(norm));
  statistics.launch(norm, {apart.y.data(), apart.mean.data(), apart.variance.data(), workspace.data()}, {});
  CHECK(same_bits(together.y, apart.y));
  CHECK(same_bits(together.mean, apart.mean));
  CHECK(same_bits(together.variance, apart.variance));
  CHECK_FALSE(fuses_statistics(Backend::cpu, s));
}

TEST_CASE("convstatistics: segments that are none, and sums, are refused") {
  const auto conv = make_conv2d_shape(4, 5, 5, 3, 2, 3, 1, 1, 3);
  const auto made_with = [&](std::vector<int64_t> ends) { return make_convstatistics_shape(conv, ends); };
  CHECK(made_with({1, 4}).segments == 2);
  CHECK_THROWS_WITH(made_with({}), Catch::Contains("[batchnorm] expected 1 to 8 segments, got 0"));
  CHECK_THROWS_WITH(made_with({1, 1, 4}), Catch::Contains("ascending segment ends, got 1 after 1"));
  CHECK_THROWS_WITH(made_with({1, 3}), Catch::Contains("end at the batch size 4, got 3"));
  const std::vector<int64_t> one{4};
  CHECK_THROWS_WITH(make_convstatistics_shape(with_types(conv, RTFQ_U8, RTFQ_S8, RTFQ_S32), one),
                    Catch::Contains("[convstatistics] expected results in f32 or bf16, got s32"));
}
