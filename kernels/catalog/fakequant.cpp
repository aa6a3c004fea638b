// The cases of fake-quant: every bit-width, slices, sizes around the kernels' vectors, and those of networks.
#include <array>

#include "kernels/catalog/fakequant_problem.h"
#include "kernels/catalog/problem_instance.h"

namespace rtfq::kernels::catalog {
namespace {

using quantizer::abs_sum;
using quantizer::backward;
using quantizer::Case;
using quantizer::Data;
using quantizer::forward;
using quantizer::Wanted;

bool dense(const FakeQuantShape& s) {
  return s.rows == 1 && s.groups == 1;
}

/// Slices and sizes that cross the kernels' vectors, blocks and threads.
std::vector<Case> shapes() {
  const QuantBounds u4 = quant_bounds(4, false), s4 = quant_bounds(4, true), u8 = quant_bounds(8, false),
                    s8 = quant_bounds(8, true);
  std::vector<Case> cases;
  for (const int64_t n : {1, 7, 8, 31, 32, 33, 8192, 8193})
    cases.push_back({"dense_" + std::to_string(n), make_fakequant_shape(n, u4)});
  cases.push_back({"dense_40003_signed", make_fakequant_shape(40003, s4)});
  cases.push_back({"dense_40003_random", make_fakequant_shape(40003, u8), Data::random, 0.0371f});
  cases.push_back({"dense_70000_random_signed", make_fakequant_shape(70000, s8), Data::random, 0.0113f});
  for (const bool per_row : {false, true}) {
    const std::string kind = per_row ? "_per_row" : "_per_tensor";
    const auto add = [&](int64_t k, int64_t rs, int64_t c, int64_t c_parent, Data data, float step) {
      cases.push_back({"weight_" + std::to_string(k) + "x" + std::to_string(rs) + "x" + std::to_string(c) +
                           "_of_" + std::to_string(c_parent) + kind + (data == Data::random ? "_random" : ""),
                       make_fakequant_weight_shape(k, rs, c, c_parent, s4, per_row), data, step});
    };
    add(5, 9, 7, 10, Data::exact, 0.125f);
    add(4, 9, 16, 16, Data::exact, 0.25f);
    add(3, 1, 40, 48, Data::exact, 0.125f);
    add(1, 9, 33, 34, Data::exact, 0.125f);
    add(3, 1, 9000, 9001, Data::exact, 0.125f);
    add(2, 2, 20000, 20008, Data::exact, 0.125f);
    add(96, 9, 48, 64, Data::random, 0.0271f);
    add(700, 1, 64, 80, Data::random, 0.0271f);
  }
  return cases;
}

std::vector<Case> large_cases() {
  const QuantBounds u4 = quant_bounds(4, false), s4 = quant_bounds(4, true);
  const int64_t activations = 64 * 56 * 56 * 64;
  std::vector<Case> cases;
  cases.push_back(
      {"activation_64x56x56x64_u4", make_fakequant_shape(activations, u4), Data::random, 0.037f, true});
  cases.push_back({"weight_512x9x512_per_row", make_fakequant_weight_shape(512, 9, 512, 512, s4, true),
                   Data::random, 0.037f, true});
  cases.push_back({"weight_480x9x480_of_512", make_fakequant_weight_shape(480, 9, 480, 512, s4, false),
                   Data::random, 0.037f, true});
  return cases;
}

/// Beyond the size from which results are stored past the caches.
Case streamed_case() {
  return {"streamed_4194309", make_fakequant_shape((1 << 22) + 5, quant_bounds(4, false)), Data::random,
          0.037f};
}

std::vector<Case> widths(Data data) {
  std::vector<Case> cases;
  for (int bits = 2; bits <= 8; ++bits)
    for (const char* kind : {"unsigned", "signed", "symmetric"}) {
      const QuantBounds bounds = quant_bounds(bits, kind[0] == 's', kind[1] == 'y');
      cases.push_back({std::to_string(bits) + "bit_" + kind, make_fakequant_shape(1003, bounds), data});
    }
  return cases;
}

}  // namespace

std::vector<Entry> fakequant_entries() {
  std::vector<Entry> list;
  const auto add_forward = [&](const Case& c, const char* suffix = "", bool values = true,
                               bool codes = true) {
    list.push_back(entry<FakeQuantForward>(
        c.name + suffix, [=](const Contract& contract) { return forward(c, values, codes, contract); },
        c.large));
  };
  const auto add_backward = [&](const Case& c, const char* suffix = "", Wanted wanted = {true, false, true}) {
    list.push_back(entry<FakeQuantBackward>(
        c.name + suffix, [=](const Contract& contract) { return backward(c, wanted, contract); }, c.large));
  };
  const auto add_sum = [&](const Case& c, const char* suffix = "", bool notable = false) {
    list.push_back(entry<AbsSum>(
        c.name + suffix, [=] { return abs_sum(c, notable); }, c.large));
  };
  for (const Case& c : widths(Data::special)) {
    add_forward(c);
    add_backward(c, "_special");
  }
  for (const Case& c : widths(Data::exact)) {
    add_backward(c);
    add_sum(c);
  }
  for (const Case& c : shapes()) {
    add_forward(c);
    add_forward(c, "_values_only", true, false);
    add_forward(c, "_codes_only", false, true);
    add_backward(c);
    add_backward(c, "_accumulate", {true, true, true});
    add_sum(c);
  }
  const Case some = shapes()[8],
             slice{"slice", make_fakequant_weight_shape(5, 9, 7, 10, quant_bounds(3, true), true)};
  for (const Case& c : {some, slice}) {
    add_backward(c, "_dx_only", {true, false, false});
    add_backward(c, "_dx_only_accumulate", {true, true, false});
    add_backward(c, "_ds_only", {false, false, true});
  }
  add_sum({"nan_signed", make_fakequant_shape(1003, quant_bounds(4, true))}, "", true);
  add_sum({"nan_unsigned", make_fakequant_shape(1003, quant_bounds(4, false))}, "", true);
  // One step per row at the scale where 1/s and the least step meet.
  add_forward({"least_step", make_fakequant_shape(1003, quant_bounds(8, true)), Data::exact, 0x1p-60f});
  add_backward({"least_step", make_fakequant_shape(1003, quant_bounds(8, true)), Data::exact, 0x1p-60f});
  add_forward(streamed_case(), "_values_only", true, false);
  add_forward(streamed_case());
  add_backward(streamed_case());
  // Of bf16 and f16: the same codes as of the value that they hold; slices and sums as above.
  for (const rtfq_dtype type : {RTFQ_BF16, RTFQ_F16}) {
    const auto of_type = [&](Case c) {
      c.name += std::string("_") + type_name(type);
      c.shape.type = type;
      return c;
    };
    for (const Case& c : shapes()) {
      add_forward(of_type(c));
      add_forward(of_type(c), "_values_only", true, false);
      add_backward(of_type(c));
      add_backward(of_type(c), "_accumulate", {true, true, true});
      add_sum(of_type(c));
    }
    for (const Case& c : widths(Data::special)) {
      add_forward(of_type(c));
      add_backward(of_type(c), "_special");
    }
    Case streamed = streamed_case();
    streamed.name = "streamed_8388613";
    streamed.shape = make_fakequant_shape((1 << 23) + 5, quant_bounds(4, false));
    add_forward(of_type(streamed), "_values_only", true, false);
    add_backward(of_type(streamed));
    add_forward(of_type(large_cases()[0]), "_codes", false, true);
    add_backward(of_type(large_cases()[0]));
  }
  for (const Case& c : large_cases()) {
    add_forward(c, "", true, false);
    add_forward(c, "_codes", false, true);
    add_backward(c, "", {true, !dense(c.shape), true});
    add_sum(c);
  }
  return list;
}

}  // namespace rtfq::kernels::catalog
