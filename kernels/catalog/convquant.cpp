// The fused convolution: exact sums of codes, and then the contract's f32 expressions, each rounded once; so
// no output may differ. Channel counts and pixels on both sides of what a tile holds, every residual and
// identity, slices of wider weights, images, filters and strides of every ResNet.
#include "kernels/catalog/convquant.h"

#include <cmath>

#include "kernels/catalog/conv2d_reference.h"
#include "kernels/catalog/problem_instance.h"
#include "kernels/catalog/typed.h"
#include "kernels/convquant.h"

namespace rtfq::kernels::catalog {
namespace {

struct Case {
  Conv2dCase conv;
  rtfq_dtype x = RTFQ_U8;
  bool quantized = true;
  rtfq_residual residual = RTFQ_RESIDUAL_NONE;
  rtfq_identity identity = RTFQ_IDENTITY_NONE;
  int32_t qp = 255;
  bool extreme = false;  ///< mostly the ends of the codes' ranges, so that sums are as large as they get
};

std::string name_of(const Case& c) {
  constexpr const char* residual[] = {"", "_plus_values", "_plus_codes"};
  constexpr const char* identity[] = {"", "_to_codes", "_to_values"};
  return std::string(c.conv.name) + residual[c.residual] + identity[c.identity] +
         (c.x == RTFQ_S8 ? "_s8" : "") + (c.quantized ? "_qp" + std::to_string(c.qp) : "_z") +
         (c.extreme ? "_extreme" : "");
}

/// Codes of a type, as floats.
std::vector<float> codes(rtfq_dtype type, std::size_t count, uint64_t seed, bool extreme) {
  const int low = type == RTFQ_U8 ? 0 : -128;
  return codes_between(low, low + 255, count, seed, extreme);
}

std::vector<double> codes_of(const std::vector<float>& z, float step, int32_t qp) {
  std::vector<double> values;
  const float r = 1.0f / step, high = static_cast<float>(qp);
  for (const float value : z) {
    const float v = value * r;
    values.push_back(static_cast<double>(!(v > 0.0f) ? 0.0f : v >= high ? high : std::nearbyintf(v)));
  }
  return values;
}

std::unique_ptr<Problem<ConvQuantForward>> problem_of(const Case& c) {
  auto problem = std::make_unique<Problem<ConvQuantForward>>();
  const Conv2dShape conv = with_types(c.conv.shape(), c.x, RTFQ_S8, RTFQ_F32);
  problem->shape = c.quantized ? make_convquant_shape(conv, c.residual, c.identity, c.qp, 200)
                               : make_convquant_shape(conv);
  auto& a = problem->args;
  std::vector<float> x = codes(c.x, conv2d_count_x(conv), 81, c.extreme),
                     w = codes(RTFQ_S8, c.conv.parent_size(), 82, c.extreme);
  a.x = add_operand(problem.get(), c.x, &x);
  problem->weights = add_operand(problem.get(), RTFQ_S8, &w);
  problem->packed = &a.packed;
  problem->workspace = &a.workspace;
  const auto sums = conv2d_reference_forward(conv, x.data(), w.data());
  const auto k = static_cast<std::size_t>(conv.k);

  // Sums have a deviation of about 85 sqrt(taps): what follows spreads z over the codes and beyond them.
  const float spread = 1.0f / (10000.0f * std::sqrt(static_cast<float>(conv.r * conv.s * conv.c)));
  std::vector<float> scale(k), mean(k), factor(k), shift(k);
  fill_normal(mean.data(), k, 83, 0.0f, 0.3f);
  fill_normal(factor.data(), k, 84, 1.0f, 0.4f);
  fill_normal(shift.data(), k, 85, 0.2f, 0.3f);
  for (std::size_t i = 0; i < k; ++i) scale[i] = spread * (1 + 0.1f * static_cast<float>(i % 7));
  a.scale = static_cast<const float*>(add_operand(problem.get(), RTFQ_F32, scale));
  a.mean = static_cast<const float*>(add_operand(problem.get(), RTFQ_F32, mean));
  a.factor = static_cast<const float*>(add_operand(problem.get(), RTFQ_F32, factor));
  a.shift = static_cast<const float*>(add_operand(problem.get(), RTFQ_F32, shift));
  auto* steps = problem->add<float>(3);
  steps[0] = 1.7f / static_cast<float>(c.qp), steps[1] = 0.0101f, steps[2] = 0.0071f;
  a.step = steps, a.identity_step = steps + 1, a.residual_step = steps + 2;

  std::vector<float> z(sums.size()), residual;
  if (c.residual == RTFQ_RESIDUAL_VALUES) {
    residual.resize(sums.size());
    fill_normal(residual.data(), residual.size(), 86);
    a.residual = add_operand(problem.get(), RTFQ_F32, residual);
  } else if (c.residual == RTFQ_RESIDUAL_CODES) {
    residual = codes(RTFQ_U8, sums.size(), 87, false);
    a.residual = add_operand(problem.get(), RTFQ_U8, residual);
  }
  for (std::size_t i = 0; i < z.size(); ++i) {
    const float y = scale[i % k] * static_cast<float>(sums[i]);
    z[i] = std::fma(y - mean[i % k], factor[i % k], shift[i % k]);
    if (c.residual == RTFQ_RESIDUAL_VALUES) z[i] += residual[i];
    if (c.residual == RTFQ_RESIDUAL_CODES) {
      const float value = residual[i] * steps[2];
      z[i] += value;
    }
  }
  if (!c.quantized) {
    a.y = problem->add<float>(z.size());
    problem->expected.push_back({"z", problem->last(), RTFQ_F32, {z.begin(), z.end()}});
    return problem;
  }
  a.y = problem->add<uint8_t>(z.size());
  problem->expected.push_back({"codes", problem->last(), RTFQ_U8, codes_of(z, steps[0], c.qp)});
  if (c.identity == RTFQ_IDENTITY_CODES) {
    a.identity = problem->add<uint8_t>(z.size());
    problem->expected.push_back({"identity", problem->last(), RTFQ_U8, codes_of(z, steps[1], 200)});
  }
  if (c.identity == RTFQ_IDENTITY_VALUES) {
    a.identity = problem->add<float>(z.size());
    std::vector<double> values;
    for (const float value : z) values.push_back(static_cast<double>(value < 0.0f ? 0.0f : value));
    problem->expected.push_back({"identity", problem->last(), RTFQ_F32, values});
  }
  return problem;
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const auto residual : {RTFQ_RESIDUAL_NONE, RTFQ_RESIDUAL_VALUES, RTFQ_RESIDUAL_CODES})
    for (const auto identity : {RTFQ_IDENTITY_NONE, RTFQ_IDENTITY_CODES, RTFQ_IDENTITY_VALUES}) {
      all.push_back({{"3x3_2x7x9_24_40", 2, 7, 9, 24, 40, 3, 1, 1}, RTFQ_U8, true, residual, identity});
      all.push_back({{"1x1_1x3x5_64_128", 1, 3, 5, 64, 128, 1, 1, 0}, RTFQ_U8, true, residual, identity, 15});
    }
  for (const int64_t k : {1, 5, 16, 30, 48, 64, 65, 80, 113, 129}) {
    all.push_back({{"1x1_stride_2", 1, 9, 9, 16, k, 1, 2, 0}});
    all.push_back({{"3x3_stride_2", 2, 5, 6, 8, k, 3, 2, 1}, RTFQ_U8, false});
  }
  for (const int64_t size : {1, 2, 3, 4, 5, 6, 7})
    all.push_back({{"1x1_pixels", 1, 1, size, 12, 20, 1, 1, 0}});
  all.push_back({{"3x3_one_pixel", 1, 1, 1, 8, 16, 3, 1, 1}});
  all.push_back({{"1x1_padded", 1, 4, 4, 8, 8, 1, 1, 1}});
  all.push_back({{"3x3_slice", 2, 6, 6, 20, 24, 3, 1, 1, 32, 40}, RTFQ_U8, true, RTFQ_RESIDUAL_CODES});
  // Corners and sides of one image, and of more than fill a tile.
  all.push_back({{"3x3_image", 1, 7, 6, 12, 64, 3, 1, 1}});
  all.push_back({{"3x3_images", 7, 7, 6, 12, 64, 3, 1, 1}});
  all.push_back({{"3x3_images_stride_2", 7, 7, 6, 12, 64, 3, 2, 1}});
  all.push_back({{"5x5_no_padding", 2, 6, 5, 8, 80, 5, 1, 0}});
  all.push_back({{"5x5_padding_2", 2, 4, 3, 8, 80, 5, 1, 2}});
  all.push_back({{"5x5_padding_3", 2, 4, 3, 8, 80, 5, 1, 3}});
  all.push_back({{"5x5_wide_padding", 1, 6, 6, 4, 16, 5, 1, 4}});
  all.push_back({{"7x7", 1, 12, 12, 4, 16, 7, 2, 3}});
  all.push_back({{"3x3_deep", 1, 7, 7, 512, 64, 3, 1, 1},
                 RTFQ_U8,
                 true,
                 RTFQ_RESIDUAL_NONE,
                 RTFQ_IDENTITY_NONE,
                 255,
                 true});
  all.push_back({{"three_channels", 1, 5, 5, 3, 16, 3, 1, 1}});
  for (const int64_t c : {1, 2, 3, 4}) {
    all.push_back({{"stem_7x7", 2, 19, 17, c, 64, 7, 2, 3}, RTFQ_S8});
    all.push_back({{"stem_5x5", 1, 12, 12, c, 32, 5, 2, 2},
                   RTFQ_S8,
                   true,
                   RTFQ_RESIDUAL_NONE,
                   RTFQ_IDENTITY_CODES,
                   15,
                   true});
  }
  all.push_back({{"stem_slice", 1, 12, 12, 3, 24, 3, 1, 1, 5, 30}, RTFQ_S8, false});
  all.push_back({{"many_s8_channels", 1, 5, 5, 16, 16, 3, 1, 1}, RTFQ_S8});
  return all;
}

std::vector<Case> large_cases() {
  const auto none = RTFQ_RESIDUAL_NONE, plus = RTFQ_RESIDUAL_CODES;
  const auto no = RTFQ_IDENTITY_NONE;
  return {{{"stem_224", 1, 224, 224, 3, 64, 7, 2, 3}, RTFQ_S8},
          {{"3x3_56_64", 1, 56, 56, 64, 64, 3, 1, 1}},
          {{"1x1_56_64_256", 1, 56, 56, 64, 256, 1, 1, 0}, RTFQ_U8, true, plus, no},
          {{"3x3_28_128", 1, 28, 28, 128, 128, 3, 1, 1}, RTFQ_U8, true, none, no},
          {{"1x1_14_256_1024", 1, 14, 14, 256, 1024, 1, 1, 0}, RTFQ_U8, true, plus, no},
          {{"3x3_7_512", 1, 7, 7, 512, 512, 3, 1, 1}, RTFQ_U8, true, none, no}};
}

}  // namespace

std::vector<Entry> convquant_entries() {
  std::vector<Entry> list;
  const auto add = [&](const Case& c, bool large) {
    const std::string name = name_of(c) + "_k" + std::to_string(c.conv.k) + "_c" + std::to_string(c.conv.c) +
                             "_w" + std::to_string(c.conv.w);
    list.push_back(entry<ConvQuantForward>(
        name, [=] { return problem_of(c); }, large));
  };
  for (const Case& c : cases()) add(c, false);
  for (const Case& c : large_cases()) add(c, true);
  return list;
}

}  // namespace rtfq::kernels::catalog
