// A convolution with the statistics of its result: the convolution's own exact operands, so that y may not
// differ, and the statistics of that y in fp64. Segments that end inside of a tile and at its border, one of
// them after each image, more tiles than a block of the second launch takes at once, tails of rows and
// columns, and results far from zero.
#include "kernels/convstatistics.h"

#include <algorithm>
#include <cmath>

#include "kernels/catalog/batchnorm_reference.h"
#include "kernels/catalog/conv2d_reference.h"
#include "kernels/catalog/problem_instance.h"

namespace rtfq::kernels::catalog {
namespace {

struct Case {
  Conv2dCase conv;
  std::vector<int64_t> ends;
};
struct Types {
  rtfq_dtype x, w, y;
  bool tf32 = false;
};

std::unique_ptr<Problem<ConvStatisticsForward>> problem_of(const Case& c, const Types& types,
                                                           Conv2dData data) {
  const auto conv = conv2d_exact_problem(c.conv, types.x, types.w, types.y, data);
  auto problem = std::make_unique<Problem<ConvStatisticsForward>>();
  const auto s = problem->shape = make_convstatistics_shape(conv->shape, c.ends);
  problem->buffers = std::move(conv->buffers);
  problem->expected = std::move(conv->expected);
  problem->weights = conv->weights;
  auto& a = problem->args;
  a.x = conv->args.x;
  a.y = conv->args.y;
  a.scale = conv->args.scale;
  problem->packed = &a.packed;
  problem->workspace = &a.workspace;
  problem->tf32 = types.tf32;  // which holds small integers exactly

  auto [mean, variance] =
      reference::batchnorm_statistics(statistics_shape(s), problem->expected.front().values);
  // As batch norm's own statistics: means are rounded at their own size and summed at the deviations',
  // variances have sums of up to some hundred squares in f32.
  const double greatest = *std::max_element(variance.begin(), variance.end());
  const std::size_t count = mean.size();
  a.mean = problem->add<float>(count);
  problem->expected.push_back({.name = "mean",
                               .buffer = problem->last(),
                               .values = std::move(mean),
                               .absolute = 4e-7 * std::sqrt(greatest),
                               .relative = 1.2e-7});
  a.variance = problem->add<float>(count);
  problem->expected.push_back({.name = "variance",
                               .buffer = problem->last(),
                               .values = std::move(variance),
                               .absolute = 1e-9 * greatest,
                               .relative = 2e-6});
  return problem;
}

constexpr Types bf16_types{RTFQ_BF16, RTFQ_F32, RTFQ_BF16}, u8_f32{RTFQ_U8, RTFQ_S8, RTFQ_F32},
    u8_bf16{RTFQ_U8, RTFQ_S8, RTFQ_BF16}, s8_f32{RTFQ_S8, RTFQ_S8, RTFQ_F32},
    s8_bf16{RTFQ_S8, RTFQ_S8, RTFQ_BF16}, f32_types{RTFQ_F32, RTFQ_F32, RTFQ_F32},
    tf32_types{RTFQ_F32, RTFQ_F32, RTFQ_F32, true};

// n, h, w, c, k, filter, stride, pad, c_parent, k_parent
const Case small_cases[] = {
    {{"1x1_3x7x5_64_24", 3, 7, 5, 64, 24, 1, 1, 0}, {3}},
    {{"3x3_3x8x8_32_40", 3, 8, 8, 32, 40, 3, 1, 1}, {1, 3}},
    {{"3x3s2_5x9x7_16_72_slice_of_32_96", 5, 9, 7, 16, 72, 3, 2, 1, 32, 96}, {2, 3, 5}},
    {{"1x1s2_8x8x8_16_136", 8, 8, 8, 16, 136, 1, 2, 0}, {1, 2, 3, 4, 5, 6, 7, 8}},
    {{"3x3_2x13x11_16_48_slice_of_64", 2, 13, 11, 16, 48, 3, 1, 1, 64, 64}, {1, 2}},
    {{"1x1_4x29x28_16_8_many_tiles", 4, 29, 28, 16, 8, 1, 1, 0}, {3, 4}},
    {{"3x3_2x1x1_16_8_one_value", 2, 1, 1, 16, 8, 3, 1, 1}, {1, 2}},
};
const Case stems[] = {
    {{"5x5s2_stem_2x20x20_3_32", 2, 20, 20, 3, 32, 5, 2, 2}, {1, 2}},
    {{"3x3_stem_3x6x7_1_24", 3, 6, 7, 1, 24, 3, 1, 1}, {3}},
};
const Case far_case{{"3x3_2x9x9_32_16_far", 2, 9, 9, 32, 16, 3, 1, 1}, {2}},
    odd_case{{"3x3_2x5x5_7_5_off_the_vector", 2, 5, 5, 7, 5, 3, 1, 1}, {1, 2}};

const Case large_cases[] = {
    {{"resnet18_3x3_28x28_64_64", 64, 28, 28, 64, 64, 3, 1, 1}, {32, 64}},
    {{"resnet18_3x3_14x14_128_128", 64, 14, 14, 128, 128, 3, 1, 1}, {32, 64}},
    {{"resnet50_1x1_56x56_64_256", 16, 56, 56, 64, 256, 1, 1, 0}, {8, 16}},
    {{"resnet50_1x1_14x14_256_1024", 16, 14, 14, 256, 1024, 1, 1, 0}, {8, 16}},
    {{"resnet18_7x7s2_112x112_3_64", 64, 112, 112, 3, 64, 7, 2, 3}, {32, 64}},
};

}  // namespace

std::vector<Entry> convstatistics_entries() {
  std::vector<Entry> list;
  const auto add = [&](const Case& c, const Types& types, Conv2dData data, bool large) {
    list.push_back(entry<ConvStatisticsForward>(
        std::string(c.conv.name) + "_" +
            (types.tf32 ? "tf32" : std::string(type_name(types.x)) + "_" + type_name(types.y)),
        [=] { return problem_of(c, types, data); }, large));
  };
  for (const Case& c : small_cases)
    for (const Types& types : {bf16_types, u8_f32, u8_bf16, tf32_types})
      add(c, types, Conv2dData::random, false);
  for (const Case& c : stems)
    for (const Types& types : {bf16_types, s8_f32, s8_bf16, tf32_types})
      add(c, types, Conv2dData::random, false);
  for (const Types& types : {bf16_types, u8_f32, s8_bf16, f32_types, tf32_types})
    add(far_case, types, Conv2dData::far, false);
  for (const Types& types : {u8_f32, f32_types}) add(odd_case, types, Conv2dData::random, false);
  for (const Case& c : large_cases)
    for (const Types& types : {bf16_types, u8_bf16, tf32_types}) add(c, types, Conv2dData::random, true);
  return list;
}

}  // namespace rtfq::kernels::catalog
