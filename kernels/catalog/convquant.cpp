// The fused convolution: exact sums of codes, and then the contract's f32 expressions, each rounded once; so
// no output may differ. Channel counts and pixels on both sides of what a tile holds, every residual and
// identity, slices of wider weights, images, filters and strides of every ResNet.
#include "kernels/catalog/convquant.h"

#include <algorithm>
#include <cmath>

#include "kernels/catalog/operands.h"
#include "kernels/catalog/problem_instance.h"
#include "kernels/catalog/rounding.h"
#include "kernels/catalog/typed.h"

namespace rtfq::kernels::catalog {
namespace {

using Case = ConvQuantCase;

std::string name_of(const Case& c) {
  constexpr const char* residual[] = {"", "_plus_values", "_plus_codes"};
  constexpr const char* identity[] = {"", "_to_codes", "_to_values"};
  return std::string(c.conv.name) + residual[c.residual] + identity[c.identity] +
         (c.x == RTFQ_S8 ? "_s8" : "") + (c.quantized ? "_qp" + std::to_string(c.qp) : "_z") +
         (c.extreme ? "_extreme" : "");
}

/// What another order of its f32 operations may make of z: 2^-21 of its terms.
struct Sum {
  float z;
  double exact, reach;
};

Expectation codes_of(const std::vector<Sum>& sums, float step, int32_t qp, const Contract& contract) {
  Expectation e{.name = "", .buffer = 0, .type = RTFQ_U8, .values = {}};
  for (const Sum& sum : sums) {
    e.values.push_back(code_of(sum.z, step, 0, qp, contract).code);
    const auto wide = static_cast<double>(step);
    e.neighbours.push_back(
        nearness(sum.exact / wide, std::max(0x1p-21, sum.reach / wide), e.values.back(), 0, qp).neighbour);
  }
  return e;
}

/// z, or the identity's max(z, 0).
Expectation values_of(const std::vector<Sum>& sums, bool positive) {
  Expectation e{.name = "", .buffer = 0, .type = RTFQ_F32, .values = {}};
  for (const Sum& sum : sums) {
    e.values.push_back(static_cast<double>(positive && sum.z < 0.0f ? 0.0f : sum.z));
    e.near_absolute = std::max(e.near_absolute, sum.reach);
  }
  return e;
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
          {{"3x3_7_512", 1, 7, 7, 512, 512, 3, 1, 1}, RTFQ_U8, true, none, no},
          {{"3x3_stride_2_14_512", 2, 14, 14, 256, 512, 3, 2, 1}, RTFQ_U8, true, none, no}};
}

}  // namespace

std::unique_ptr<Problem<ConvQuantForward>> convquant_problem(const Case& c, const Contract& contract) {
  auto problem = std::make_unique<Problem<ConvQuantForward>>();
  const Conv2dShape conv = with_types(c.conv.shape(), c.x, RTFQ_S8, RTFQ_F32);
  problem->shape =
      with_input_bound(c.quantized ? make_convquant_shape(conv, c.residual, c.identity, c.qp, 200)
                                   : make_convquant_shape(conv),
                       c.x_qp);
  auto& a = problem->args;
  const int low = c.x == RTFQ_U8 ? 0 : -128, high = c.x == RTFQ_U8 ? c.x_qp : 127;
  const std::size_t x_count = conv2d_count_x(conv);
  std::vector<float> x = c.zeros ? std::vector<float>(x_count)
                                 : codes_between(low, high, x_count, 81, c.extreme),
                     w = codes_between(-128, 127, c.conv.parent_size(), 82, c.extreme);
  a.x = add_operand(problem.get(), c.x, &x);
  problem->weights = add_operand(problem.get(), RTFQ_S8, &w);
  problem->packed = &a.packed;
  problem->workspace = &a.workspace;
  const auto k = static_cast<std::size_t>(conv.k), outputs = conv2d_count_y(conv);

  // Sums have a deviation of about a third of x's range times 85 sqrt(taps): what follows spreads z over the
  // codes and beyond them.
  const float spread = 255.0f / static_cast<float>(high - low) /
                       (10000.0f * std::sqrt(static_cast<float>(conv.r * conv.s * conv.c)));
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

  std::vector<float> residual;
  if (c.residual == RTFQ_RESIDUAL_VALUES) {
    residual.resize(outputs);
    fill_normal(residual.data(), residual.size(), 86);
    a.residual = add_operand(problem.get(), RTFQ_F32, residual);
  } else if (c.residual == RTFQ_RESIDUAL_CODES) {
    residual = codes_between(0, 255, outputs, 87, false);
    a.residual = add_operand(problem.get(), RTFQ_U8, residual);
  }
  std::vector<double> products;
  if (c.reference) products = conv2d_reference_forward(conv, x.data(), w.data(), c.sampled);
  std::vector<Sum> sums;
  for (std::size_t i = 0; i < products.size(); ++i) {
    const std::size_t at = c.sampled.empty() ? i : c.sampled[i], channel = at % k;
    const float y = scale[channel] * static_cast<float>(products[i]);
    const double wide_y = static_cast<double>(scale[channel]) * products[i],
                 wide_factor = static_cast<double>(factor[channel]),
                 wide_shift = static_cast<double>(shift[channel]);
    Sum sum{std::fma(y - mean[channel], factor[channel], shift[channel]),
            (wide_y - static_cast<double>(mean[channel])) * wide_factor + wide_shift,
            (std::abs(wide_y) + std::abs(static_cast<double>(mean[channel]))) * std::abs(wide_factor) +
                std::abs(wide_shift)};
    if (!residual.empty()) {
      const bool of_codes = c.residual == RTFQ_RESIDUAL_CODES;
      const float value = of_codes ? residual[at] * steps[2] : residual[at];
      sum.z += value;
      sum.exact += static_cast<double>(residual[at]) * (of_codes ? static_cast<double>(steps[2]) : 1.0);
      sum.reach += std::abs(static_cast<double>(value));
    }
    sum.reach *= 0x1p-21;
    sums.push_back(sum);
  }
  const auto expect = [&](const char* name, Expectation e) {
    e.name = name;
    e.buffer = problem->last();
    e.at = c.sampled;
    problem->expected.push_back(std::move(e));
  };
  if (c.sampled.empty())
    problem->inputs = [products, z = sums, k, step = steps[0]](const std::string&, std::size_t i) {
      return "channel " + std::to_string(i % k) + ", sum = " + number_text(products[i]) +
             ", z = " + number_text(static_cast<double>(z[i].z)) +
             ", z/step = " + number_text(static_cast<double>(z[i].z) / static_cast<double>(step));
    };
  if (!c.quantized) {
    a.y = problem->add<float>(outputs);
    expect("z", values_of(sums, false));
    return problem;
  }
  a.y = problem->add<uint8_t>(outputs);
  expect("codes", codes_of(sums, steps[0], c.qp, contract));
  if (c.identity == RTFQ_IDENTITY_CODES) {
    a.identity = problem->add<uint8_t>(outputs);
    expect("identity", codes_of(sums, steps[1], 200, contract));
  }
  if (c.identity == RTFQ_IDENTITY_VALUES) {
    a.identity = problem->add<float>(outputs);
    expect("identity", values_of(sums, true));
  }
  return problem;
}

std::vector<Entry> convquant_entries() {
  std::vector<Entry> list;
  const auto add = [&](const Case& c, bool large) {
    const std::string name = name_of(c) + "_k" + std::to_string(c.conv.k) + "_c" + std::to_string(c.conv.c) +
                             "_w" + std::to_string(c.conv.w);
    list.push_back(entry<ConvQuantForward>(
        name, [=](const Contract& by) { return convquant_problem(c, by); }, large));
  };
  for (const Case& c : cases()) add(c, false);
  for (const Case& c : large_cases()) add(c, true);
  return list;
}

}  // namespace rtfq::kernels::catalog
