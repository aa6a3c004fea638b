// 4-bit storage: the codes of fake-quant's own cases, packed; convolutions whose sums are exact, so that no
// output may differ.
#include "kernels/catalog/int4.h"

#include "kernels/catalog/problem_instance.h"
#include "kernels/catalog/typed.h"

namespace rtfq::kernels::catalog {
namespace {

using quantizer::Data;

rtfq_nibbles order_of(const Contract& contract) {
  return contract.high_nibble_first ? RTFQ_HIGH_NIBBLE_FIRST : RTFQ_LOW_NIBBLE_FIRST;
}

/// Puts code i of a line that begins at `line`; both nibbles of a byte must be zero before.
void put_nibble(uint8_t* line, int64_t i, int code, rtfq_nibbles order) {
  const bool high = (i % 2 == 1) == (order == RTFQ_LOW_NIBBLE_FIRST);
  line[i / 2] = static_cast<uint8_t>(line[i / 2] | (static_cast<unsigned>(code) & 15u) << (high ? 4 : 0));
}

/// Values of dense lines, with a zero behind each whose length is odd.
std::vector<double> padded(const std::vector<double>& values, std::size_t cols) {
  if (cols % 2 == 0) return values;
  std::vector<double> all;
  for (std::size_t i = 0; i < values.size(); ++i) {
    all.push_back(values[i]);
    if (i % cols == cols - 1) all.push_back(0);
  }
  return all;
}

}  // namespace

std::unique_ptr<Problem<Int4Quantize>> int4_quantize_problem(const quantizer::Case& c,
                                                             const Contract& contract) {
  auto bytes = quantizer::forward(c, false, true, contract);
  auto problem = std::make_unique<Problem<Int4Quantize>>();
  const FakeQuantShape& s = problem->shape = c.shape;
  Expectation codes = std::move(bytes->expected.front());
  const auto cols = static_cast<std::size_t>(s.cols), line = cols + cols % 2;
  codes.values = padded(codes.values, cols);
  codes.neighbours = padded(codes.neighbours, cols);
  codes.nibbles = order_of(contract);
  problem->buffers = std::move(bytes->buffers);
  problem->buffers.pop_back();  // for the codes of 8 bits
  problem->args = {bytes->args.x, bytes->args.step,
                   problem->add<uint8_t>(static_cast<std::size_t>(s.rows * s.groups * int4_bytes(s.cols))),
                   nullptr};
  problem->workspace = &problem->args.workspace;
  problem->inputs = [of_codes = std::move(bytes->inputs), cols, line](const std::string& output,
                                                                      std::size_t index) -> std::string {
    if (index % line >= cols) return "the nibble behind a line's last code";
    return of_codes(output, index / line * cols + index % line);
  };
  codes.buffer = problem->last();
  problem->expected.push_back(std::move(codes));
  return problem;
}

std::unique_ptr<Problem<Conv2dInt4>> int4_conv2d_problem(const Int4Convolution& c, const Contract& contract) {
  auto problem = std::make_unique<Problem<Conv2dInt4>>();
  const Conv2dShape s = problem->shape = with_types(c.conv.shape(), c.x, RTFQ_S8, c.y);
  auto& a = problem->args;
  const int low = c.x == RTFQ_U8 ? 0 : -128;
  auto x = codes_between(low, low + 255, conv2d_count_x(s), 91, c.extreme);
  a.x = add_operand(problem.get(), c.x, &x);

  const auto parent = static_cast<std::size_t>(s.c_parent), lines = c.conv.parent_size() / parent,
             line_bytes = static_cast<std::size_t>(int4_bytes(s.c_parent));
  // What lies outside the slice is drawn too: reading it shows.
  const auto weights = codes_between(-8, 7, c.conv.parent_size(), 92, c.extreme);
  auto* packed = problem->add<uint8_t>(lines * line_bytes);
  std::fill_n(packed, lines * line_bytes, uint8_t{0});
  for (std::size_t i = 0; i < weights.size(); ++i)
    put_nibble(packed + i / parent * line_bytes, static_cast<int64_t>(i % parent),
               static_cast<int>(weights[i]), order_of(contract));
  a.weights = packed;

  std::vector<double> values;
  if (c.reference) values = conv2d_reference_forward(s, x.data(), weights.data(), c.sampled);
  if (c.y != RTFQ_S32) {
    auto* scale = problem->add<float>(static_cast<std::size_t>(s.k));
    a.scale = scale;
    scale_sums({scale, static_cast<std::size_t>(s.k)}, &values, c.sampled);
  }
  for (double& value : values) value = stored(c.y, value);
  a.y = add_typed(problem.get(), c.y, conv2d_count_y(s));
  problem->expected.push_back(
      {.name = "y", .buffer = problem->last(), .type = c.y, .values = std::move(values), .at = c.sampled});
  problem->workspace = &a.workspace;
  return problem;
}

namespace {

std::vector<quantizer::Case> quantizers() {
  const QuantBounds u4 = quant_bounds(4, false), s4 = quant_bounds(4, true);
  std::vector<quantizer::Case> cases;
  for (const int64_t n : {1, 2, 7, 8, 9, 31, 1003, 4096, 8193})
    cases.push_back({"dense_" + std::to_string(n), make_fakequant_shape(n, u4), Data::special});
  for (int bits = 2; bits <= 4; ++bits)
    for (const char* kind : {"unsigned", "signed", "symmetric"})
      cases.push_back({std::to_string(bits) + "bit_" + kind,
                       make_fakequant_shape(1003, quant_bounds(bits, kind[0] == 's', kind[1] == 'y')),
                       Data::special});
  cases.push_back({"dense_40003_random", make_fakequant_shape(40003, s4), Data::random, 0.0371f});
  for (const bool per_row : {false, true}) {
    const auto add = [&](int64_t k, int64_t rs, int64_t c, int64_t c_parent) {
      cases.push_back({"weight_" + std::to_string(k) + "x" + std::to_string(rs) + "x" + std::to_string(c) +
                           "_of_" + std::to_string(c_parent) + (per_row ? "_per_row" : "_per_tensor"),
                       make_fakequant_weight_shape(k, rs, c, c_parent, s4, per_row), Data::exact});
    };
    add(5, 9, 7, 10);  // lines of an odd length, whose last nibble is empty
    add(4, 9, 7, 7);
    add(4, 9, 16, 16);
    add(3, 9, 6, 6);
    add(3, 1, 40, 48);
    add(2, 2, 20000, 20008);
    add(96, 9, 48, 64);
  }
  const std::size_t of_f32 = cases.size();
  for (const rtfq_dtype type : {RTFQ_BF16, RTFQ_F16})
    for (std::size_t i = 0; i < of_f32; ++i) {
      quantizer::Case c = cases[i];
      c.name += std::string("_") + type_name(type);
      c.shape.type = type;
      cases.push_back(c);
    }
  cases.push_back(
      {"activation_64x56x56x64_u4", make_fakequant_shape(64 * 56 * 56 * 64, u4), Data::random, 0.037f, true});
  cases.push_back({"weight_512x9x512_per_row", make_fakequant_weight_shape(512, 9, 512, 512, s4, true),
                   Data::random, 0.037f, true});
  return cases;
}

std::vector<Int4Convolution> convolutions() {
  const Conv2dCase shapes[] = {
      {"3x3_8x8_16_16", 2, 8, 8, 16, 16, 3, 1, 1},
      {"3x3_8x8_64_64", 2, 8, 8, 64, 64, 3, 1, 1},
      {"3x3s2_odd_9x7_16_32", 3, 9, 7, 16, 32, 3, 2, 1},
      {"1x1_7x5_64_16", 2, 7, 5, 64, 16, 1, 1, 0},
      {"1x1s2_odd_7x9_16_32", 2, 7, 9, 16, 32, 1, 2, 0},
      {"3x3_one_pixel_32_32", 4, 1, 1, 32, 32, 3, 1, 1},
      {"3x3_8x8_48_48_slice_of_64", 2, 8, 8, 48, 48, 3, 1, 1, 64, 64},
      {"1x1_13x11_48_144", 1, 13, 11, 48, 144, 1, 1, 0},
      {"3x3_25x23_16_16_many_pixels", 2, 25, 23, 16, 16, 3, 1, 1},
      {"3x3s2_13x14_16_80_slice_of_32_96", 2, 13, 14, 16, 80, 3, 2, 1, 32, 96},
      {"3x3_deep_5x5_256_40", 1, 5, 5, 256, 40, 3, 1, 1},
      {"3x3_8x8_24_40_multiples_of_8", 2, 8, 8, 24, 40, 3, 1, 1},
      {"3x3_5x5_7_5_odd", 2, 5, 5, 7, 5, 3, 1, 1},
      {"3x3_6x6_5_6_slice_of_9_7", 2, 6, 6, 5, 6, 3, 1, 1, 9, 7},
      {"7x7s2_stem_20x20_3_56", 1, 20, 20, 3, 56, 7, 2, 3},
  };
  std::vector<Int4Convolution> all;
  for (const Conv2dCase& c : shapes)
    for (const rtfq_dtype x : {RTFQ_U8, RTFQ_S8})
      for (const rtfq_dtype y : {RTFQ_F32, RTFQ_BF16, RTFQ_S32}) all.push_back({c, x, y, y == RTFQ_S32});
  for (const Conv2dCase& c : {Conv2dCase{"resnet18_3x3_28x28_64_64", 64, 28, 28, 64, 64, 3, 1, 1},
                              Conv2dCase{"resnet18_3x3_7x7_256_256", 64, 7, 7, 256, 256, 3, 1, 1},
                              Conv2dCase{"resnet18_3x3_4x4_512_512", 64, 4, 4, 512, 512, 3, 1, 1},
                              Conv2dCase{"resnet50_1x1_7x7_2048_512", 16, 7, 7, 2048, 512, 1, 1, 0}})
    all.push_back({c, RTFQ_U8, RTFQ_BF16, false, true});
  return all;
}

}  // namespace

std::vector<Entry> int4_entries() {
  std::vector<Entry> list;
  for (const auto& c : quantizers())
    list.push_back(entry<Int4Quantize>(
        c.name, [=](const Contract& by) { return int4_quantize_problem(c, by); }, c.large));
  for (const auto& c : convolutions())
    list.push_back(entry<Conv2dInt4>(
        std::string(c.conv.name) + "_" + type_name(c.x) + "_" + type_name(c.y) +
            (c.extreme ? "_extreme" : ""),
        [=](const Contract& by) { return int4_conv2d_problem(c, by); }, c.large));
  return list;
}

}  // namespace rtfq::kernels::catalog
