// Convolutions of residual networks: every filter kind, slices of wider parents, odd sizes, channel counts
// off the vector width. Here all operands are f32; conv2d_types.cpp has the other rows of kernels/conv2d.h,
// conv2d_tf32.cpp products of rounded f32.
#include "kernels/conv2d.h"

#include "kernels/catalog/conv2d_reference.h"
#include "kernels/catalog/problem_instance.h"

namespace rtfq::kernels::catalog {
namespace {

enum class Data { exact, normal };

/// Exact: integers of at most 4 times a power of two, so that up to 2^20 products add up without rounding.
void fill(Data data, float* x, std::size_t count, uint64_t seed, float scale) {
  if (data == Data::exact)
    fill_exact(x, count, seed, 4, scale);
  else
    fill_normal(x, count, seed);
}

/// A chain of f32 additions of `terms` products of normal numbers is off by some 0.3 * 2^-24 * terms
/// (measured; the worst of ten thousand sums by four times that); allow twelve times that.
double tolerance(Data data, int64_t terms) {
  return data == Data::exact ? 0.0 : 0x1p-22 * static_cast<double>(terms) + 1e-6;
}

/// A sum that came out large has gone through larger partial sums.
double relative_tolerance(Data data) {
  return data == Data::exact ? 0.0 : 0x1p-19;
}

/// Fills the slice of a parent; what lies outside keeps its poison, so that reading it shows.
void fill_slice(Data data, const Conv2dShape& s, float* parent, uint64_t seed) {
  std::vector<float> row(static_cast<std::size_t>(s.c));
  for (int64_t i = 0; i < s.k * s.r * s.s; ++i) {
    fill(data, row.data(), row.size(), seed + static_cast<uint64_t>(i), 0.125f);
    std::copy(row.begin(), row.end(), parent + i * s.c_parent);
  }
}

std::unique_ptr<Problem<Conv2dForward>> forward(const Conv2dCase& the_case, Data data) {
  auto problem = std::make_unique<Problem<Conv2dForward>>();
  const auto s = problem->shape = the_case.shape();
  float* x = problem->add<float>(conv2d_count_x(s));
  fill(data, x, conv2d_count_x(s), 1, 1.0f);
  float* w = problem->add<float>(the_case.parent_size());
  fill_slice(data, s, w, 1000);
  float* y = problem->add<float>(conv2d_count_y(s));
  problem->expected.push_back({.name = "y",
                               .buffer = problem->last(),
                               .values = conv2d_reference_forward(s, x, w),
                               .absolute = tolerance(data, s.r * s.s * s.c),
                               .relative = relative_tolerance(data)});
  problem->args = {x, nullptr, y, nullptr};
  problem->weights = w;
  problem->packed = &problem->args.packed;
  problem->workspace = &problem->args.workspace;
  return problem;
}

std::unique_ptr<Problem<Conv2dDgrad>> dgrad(const Conv2dCase& the_case, Data data) {
  auto problem = std::make_unique<Problem<Conv2dDgrad>>();
  const auto s = problem->shape = the_case.shape();
  float* g = problem->add<float>(conv2d_count_y(s));
  fill(data, g, conv2d_count_y(s), 2, 0.5f);
  float* w = problem->add<float>(the_case.parent_size());
  fill_slice(data, s, w, 2000);
  float* dx = problem->add<float>(conv2d_count_x(s));
  problem->expected.push_back({.name = "dx",
                               .buffer = problem->last(),
                               .values = conv2d_reference_dgrad(s, g, w),
                               .absolute = tolerance(data, s.r * s.s * s.k),
                               .relative = relative_tolerance(data)});
  problem->args = {g, nullptr, dx, nullptr};
  problem->weights = w;
  problem->packed = &problem->args.packed;
  problem->workspace = &problem->args.workspace;
  return problem;
}

std::unique_ptr<Problem<Conv2dWgrad>> wgrad(const Conv2dCase& the_case, Data data, bool accumulate) {
  auto problem = std::make_unique<Problem<Conv2dWgrad>>();
  const auto s = problem->shape = the_case.shape();
  float* x = problem->add<float>(conv2d_count_x(s));
  fill(data, x, conv2d_count_x(s), 3, 1.0f);
  float* g = problem->add<float>(conv2d_count_y(s));
  fill(data, g, conv2d_count_y(s), 4, 0.5f);

  const std::size_t size = the_case.parent_size();
  auto before = std::make_shared<std::vector<float>>(size);
  fill(data, before->data(), size, 5, 2.0f);
  std::vector<double> expected(before->begin(), before->end());
  std::vector<bool> active(size, false);
  for (int64_t i = 0; i < s.k * s.r * s.s; ++i)
    for (int64_t c = 0; c < s.c; ++c) active[static_cast<std::size_t>(i * s.c_parent + c)] = true;
  if (!accumulate)
    for (std::size_t i = 0; i < size; ++i)
      if (active[i]) expected[i] = 0;
  conv2d_reference_wgrad(s, x, g, &expected);

  float* dw = problem->add<float>(size);
  // The parent holds gradients all over; where they are to be overwritten it stays poisoned.
  problem->restore = [=] {
    for (std::size_t i = 0; i < size; ++i)
      if (accumulate || !active[i]) dw[i] = (*before)[i];
  };
  problem->expected.push_back({.name = "dw",
                               .buffer = problem->last(),
                               .values = std::move(expected),
                               .absolute = tolerance(data, s.n * output_height(s) * output_width(s)),
                               .relative = relative_tolerance(data)});
  problem->args = {x, g, dw, accumulate, nullptr};
  problem->workspace = &problem->args.workspace;
  return problem;
}

void add(std::vector<Entry>* list, const Conv2dCase& c, Data data, bool large) {
  const std::string name = c.name + std::string(data == Data::exact ? "" : "_normal");
  list->push_back(entry<Conv2dForward>(
      name, [=] { return forward(c, data); }, large));
  list->push_back(entry<Conv2dDgrad>(
      name, [=] { return dgrad(c, data); }, large));
  list->push_back(entry<Conv2dWgrad>(
      name, [=] { return wgrad(c, data, false); }, large));
  if (!large) list->push_back(entry<Conv2dWgrad>(name + "_add", [=] { return wgrad(c, data, true); }));
}

// n, h, w, c, k, filter, stride, pad, c_parent, k_parent
const Conv2dCase small_cases[] = {
    {"3x3_8x8_16_16", 2, 8, 8, 16, 16, 3, 1, 1},
    {"3x3_8x8_64_64", 2, 8, 8, 64, 64, 3, 1, 1},
    {"3x3s2_8x8_32_64", 2, 8, 8, 32, 64, 3, 2, 1},
    {"3x3s2_odd_9x7_16_32", 3, 9, 7, 16, 32, 3, 2, 1},
    {"1x1_7x5_64_16", 2, 7, 5, 64, 16, 1, 1, 0},
    {"1x1_4x4_16_128", 2, 4, 4, 16, 128, 1, 1, 0},
    {"1x1s2_8x8_32_64", 2, 8, 8, 32, 64, 1, 2, 0},
    {"1x1s2_odd_7x9_16_32", 2, 7, 9, 16, 32, 1, 2, 0},
    {"1x1s2_8x8_2_4", 3, 8, 8, 2, 4, 1, 2, 0},
    {"1x1s2_12x12_5_8", 3, 12, 12, 5, 8, 1, 2, 0},
    {"1x1s2_12x12_12_8", 3, 12, 12, 12, 8, 1, 2, 0},
    {"7x7s2_stem_32x32_3_16", 2, 32, 32, 3, 16, 7, 2, 3},
    {"7x7s2_stem_odd_27x31_3_24", 1, 27, 31, 3, 24, 7, 2, 3},
    {"5x5s2_stem_20x20_1_32", 3, 20, 20, 1, 32, 5, 2, 2},
    {"5x5s2_stem_28x28_3_32", 2, 28, 28, 3, 32, 5, 2, 2},
    {"3x3_stem_12x12_1_16", 2, 12, 12, 1, 16, 3, 1, 1},
    {"3x3_stem_12x12_3_24", 2, 12, 12, 3, 24, 3, 1, 1},
    {"3x3_unpadded_6x5_16_16", 2, 6, 5, 16, 16, 3, 1, 0},
    {"3x3s3_10x10_8_8", 2, 10, 10, 8, 8, 3, 3, 1},
    {"3x3_one_pixel_32_32", 4, 1, 1, 32, 32, 3, 1, 1},
    {"3x3_one_image_4x4_128_128", 1, 4, 4, 128, 128, 3, 1, 1},
    {"3x3_8x8_24_40_multiples_of_8", 2, 8, 8, 24, 40, 3, 1, 1},
    {"3x3s2_8x8_56_104_multiples_of_8", 2, 8, 8, 56, 104, 3, 2, 1},
    {"1x1_6x6_40_24_multiples_of_8", 2, 6, 6, 40, 24, 1, 1, 0},
    {"3x3_5x5_7_5_off_the_vector", 2, 5, 5, 7, 5, 3, 1, 1},
    {"3x3s2_9x9_13_19_off_the_vector", 2, 9, 9, 13, 19, 3, 2, 1},
    {"1x1_5x4_11_3_off_the_vector", 3, 5, 4, 11, 3, 1, 1, 0},
    {"1x1_1_1", 1, 1, 1, 1, 1, 1, 1, 0},
    {"3x3_8x8_48_48_slice_of_64", 2, 8, 8, 48, 48, 3, 1, 1, 64, 64},
    {"3x3s2_8x8_24_56_slice_of_32_64", 2, 8, 8, 24, 56, 3, 2, 1, 32, 64},
    {"1x1_7x7_56_32_slice_of_64_40", 2, 7, 7, 56, 32, 1, 1, 0, 64, 40},
    {"1x1s2_8x8_24_56_slice_of_32_64", 2, 8, 8, 24, 56, 1, 2, 0, 32, 64},
    {"7x7s2_stem_20x20_3_56_slice_of_64", 1, 20, 20, 3, 56, 7, 2, 3, 3, 64},
    {"5x5s2_stem_16x16_1_24_slice_of_32", 2, 16, 16, 1, 24, 5, 2, 2, 1, 32},
    {"3x3_6x6_5_6_slice_of_9_7", 2, 6, 6, 5, 6, 3, 1, 1, 9, 7},
    // Tails of the GPU's tiles: of rows, of columns, of a sum's depth, of pieces of the pixels.
    {"1x1_13x11_48_144", 1, 13, 11, 48, 144, 1, 1, 0},
    {"3x3_25x23_16_16_many_pixels", 2, 25, 23, 16, 16, 3, 1, 1},
    {"3x3s2_13x14_16_80_slice_of_32_96", 2, 13, 14, 16, 80, 3, 2, 1, 32, 96},
    // Weights that lie apart by no multiple of 2 or 4; few pieces of the pixels, many, and one.
    {"1x1_33x32_16_24_slice_of_35_many_pixels", 2, 33, 32, 16, 24, 1, 1, 0, 35, 24},
    {"1x1_31x33_32_40_slice_of_64_many_pixels", 2, 31, 33, 32, 40, 1, 1, 0, 64, 40},
    {"1x1_5x5_16_24_slice_of_35_32", 2, 5, 5, 16, 24, 1, 1, 0, 35, 32},
    {"5x5_wide_padding_4x4_8_8", 2, 4, 4, 8, 8, 5, 1, 4},
    {"1x1_padded_4x4_8_8", 1, 4, 4, 8, 8, 1, 1, 1},
};

const Conv2dCase normal_cases[] = {
    {"3x3_8x8_64_64", 2, 8, 8, 64, 64, 3, 1, 1},
    {"3x3s2_9x7_24_56_slice_of_32_64", 2, 9, 7, 24, 56, 3, 2, 1, 32, 64},
    {"1x1_7x7_200_56_slice_of_256_64", 2, 7, 7, 200, 56, 1, 1, 0, 256, 64},
    {"1x1s2_8x8_64_128", 2, 8, 8, 64, 128, 1, 2, 0},
    {"7x7s2_stem_32x32_3_24", 2, 32, 32, 3, 24, 7, 2, 3},
    {"5x5s2_stem_32x32_1_32", 4, 32, 32, 1, 32, 5, 2, 2},
    {"3x3_4x4_512_64", 1, 4, 4, 512, 64, 3, 1, 1},
};

// ResNet-18 at 112 pixels with batch 64, a small ResNet of 32-64-128 channels at 32 pixels with batch 128 and
// its slices, and a bottleneck of ResNet-50 at 224 with batch 16.
const Conv2dCase large_cases[] = {
    {"resnet18_7x7s2_112x112_3_64", 64, 112, 112, 3, 64, 7, 2, 3},
    {"resnet18_3x3_28x28_64_64", 64, 28, 28, 64, 64, 3, 1, 1},
    {"resnet18_3x3s2_28x28_64_128", 64, 28, 28, 64, 128, 3, 2, 1},
    {"resnet18_1x1s2_28x28_64_128", 64, 28, 28, 64, 128, 1, 2, 0},
    {"resnet18_3x3_14x14_128_128", 64, 14, 14, 128, 128, 3, 1, 1},
    {"resnet18_3x3_14x14_112_112_slice_of_128", 64, 14, 14, 112, 112, 3, 1, 1, 128, 128},
    {"resnet18_3x3s2_14x14_128_256", 64, 14, 14, 128, 256, 3, 2, 1},
    {"resnet18_1x1s2_14x14_128_256", 64, 14, 14, 128, 256, 1, 2, 0},
    {"resnet18_3x3_7x7_256_256", 64, 7, 7, 256, 256, 3, 1, 1},
    {"resnet18_3x3s2_7x7_256_512", 64, 7, 7, 256, 512, 3, 2, 1},
    {"resnet18_1x1s2_7x7_256_512", 64, 7, 7, 256, 512, 1, 2, 0},
    {"resnet18_3x3_4x4_512_512", 64, 4, 4, 512, 512, 3, 1, 1},
    {"small_5x5s2_32x32_1_32", 128, 32, 32, 1, 32, 5, 2, 2},
    {"small_5x5s2_32x32_3_32", 128, 32, 32, 3, 32, 5, 2, 2},
    {"small_3x3_16x16_32_32", 128, 16, 16, 32, 32, 3, 1, 1},
    {"small_3x3_16x16_24_24_slice_of_32", 128, 16, 16, 24, 24, 3, 1, 1, 32, 32},
    {"small_3x3s2_16x16_32_64", 128, 16, 16, 32, 64, 3, 2, 1},
    {"small_1x1s2_16x16_32_64", 128, 16, 16, 32, 64, 1, 2, 0},
    {"small_3x3_8x8_64_64", 128, 8, 8, 64, 64, 3, 1, 1},
    {"small_3x3_8x8_56_56_slice_of_64", 128, 8, 8, 56, 56, 3, 1, 1, 64, 64},
    {"small_3x3s2_8x8_64_128", 128, 8, 8, 64, 128, 3, 2, 1},
    {"small_1x1s2_8x8_64_128", 128, 8, 8, 64, 128, 1, 2, 0},
    {"small_3x3_4x4_128_128", 128, 4, 4, 128, 128, 3, 1, 1},
    {"small_3x3_4x4_96_96_slice_of_128", 128, 4, 4, 96, 96, 3, 1, 1, 128, 128},
    {"resnet50_1x1_56x56_64_256", 16, 56, 56, 64, 256, 1, 1, 0},
    {"resnet50_1x1_56x56_256_64", 16, 56, 56, 256, 64, 1, 1, 0},
    {"resnet50_3x3_56x56_64_64", 16, 56, 56, 64, 64, 3, 1, 1},
    {"resnet50_1x1s2_56x56_256_512", 16, 56, 56, 256, 512, 1, 2, 0},
    {"resnet50_1x1_7x7_2048_512", 16, 7, 7, 2048, 512, 1, 1, 0},
};

}  // namespace

std::vector<Entry> conv2d_entries() {
  std::vector<Entry> list;
  for (const auto& c : small_cases) add(&list, c, Data::exact, false);
  for (const auto& c : normal_cases) add(&list, c, Data::normal, false);
  for (const auto& c : large_cases) add(&list, c, Data::normal, true);
  for (const auto& c : small_cases) add_conv2d_types(&list, c, false);
  for (const auto& c : large_cases) add_conv2d_types(&list, c, true);
  for (const auto& c : small_cases) add_conv2d_tf32(&list, c, false);
  for (const auto& c : large_cases) add_conv2d_tf32(&list, c, true);
  return list;
}

}  // namespace rtfq::kernels::catalog
