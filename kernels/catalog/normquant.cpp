// The fused norm and quantizers: every kind of residual and identity, in f32 and bf16, on exact data (powers
// of two, so that nothing rounds and ties are met) and on normal data; channel counts on both sides of every
// way in which kernels join or split rows; gradients that are not there; results in an operand's place.
#include "kernels/catalog/normquant_problems.h"
#include "kernels/catalog/problem_instance.h"

namespace rtfq::kernels::catalog {
namespace {

using normquant::Case;
using normquant::Place;

constexpr rtfq_residual residuals[] = {RTFQ_RESIDUAL_NONE, RTFQ_RESIDUAL_VALUES, RTFQ_RESIDUAL_CODES,
                                       RTFQ_RESIDUAL_NORM};
constexpr rtfq_identity identities[] = {RTFQ_IDENTITY_NONE, RTFQ_IDENTITY_CODES, RTFQ_IDENTITY_VALUES};

std::string kinds(const Case& c) {
  constexpr const char* residual[] = {"", "_plus_values", "_plus_codes", "_plus_norm"};
  constexpr const char* identity[] = {"", "_to_codes", "_to_values"};
  return std::string(residual[c.residual]) + identity[c.identity] + (c.type == RTFQ_BF16 ? "_bf16" : "");
}

std::vector<Case> small_cases() {
  std::vector<Case> cases;
  const auto add = [&](Case c) {
    c.name += kinds(c);
    cases.push_back(c);
  };
  for (const auto type : {RTFQ_F32, RTFQ_BF16})
    for (const auto residual : residuals)
      for (const auto identity : identities) {
        // Exact: powers of two of values in each segment.
        add({"segments_4_12_16_x8x24", 8, 24, {4, 12, 16}, residual, identity, type});
        add({"random_5x9x37_segments", 9, 37, {2, 5}, residual, identity, type, true});
      }
  for (const auto type : {RTFQ_F32, RTFQ_BF16}) {
    for (const int64_t c : {1, 3, 8, 16, 30, 65, 128, 255, 520, 1030, 2048, 2064, 4100})
      add({"16x2x" + std::to_string(c), 16, c, {2}, RTFQ_RESIDUAL_NORM, RTFQ_IDENTITY_CODES, type});
    add({"one_value_1x1x40", 1, 40, {1}, RTFQ_RESIDUAL_CODES, RTFQ_IDENTITY_CODES, type});
    add({"eight_segments_x16x6",
         16,
         6,
         {1, 2, 4, 5, 6, 8, 9, 10},
         RTFQ_RESIDUAL_NONE,
         RTFQ_IDENTITY_NONE,
         type});
    add({"blocks_of_32x1024x30", 1024, 30, {8, 32}, RTFQ_RESIDUAL_CODES, RTFQ_IDENTITY_CODES, type});
    add({"random_13x225x96", 225, 96, {13}, RTFQ_RESIDUAL_NORM, RTFQ_IDENTITY_CODES, type, true});
  }
  Case wide{"qp_255_random", 49, 48, {4}, RTFQ_RESIDUAL_CODES, RTFQ_IDENTITY_VALUES, RTFQ_F32, true};
  wide.qp = 255;
  add(wide);
  wide.name = "qp_1";
  wide.qp = 1;
  wide.random = false;
  add(wide);
  return cases;
}

/// Gradients that are null, sums and steps that nobody wants, results in an operand's place.
std::vector<Case> gradient_cases() {
  std::vector<Case> cases;
  for (const auto type : {RTFQ_F32, RTFQ_BF16}) {
    const auto add = [&](const char* what, rtfq_residual residual, rtfq_identity identity, auto change) {
      Case c{what, 8, 40, {4, 8}, residual, identity, type};
      change(c);
      c.name += kinds(c);
      cases.push_back(c);
    };
    add("no_g_codes", RTFQ_RESIDUAL_CODES, RTFQ_IDENTITY_CODES, [](Case& c) { c.g_codes = false; });
    add("no_g_identity", RTFQ_RESIDUAL_CODES, RTFQ_IDENTITY_CODES, [](Case& c) { c.g_identity = false; });
    add("no_g_identity", RTFQ_RESIDUAL_VALUES, RTFQ_IDENTITY_VALUES, [](Case& c) { c.g_identity = false; });
    add("no_gradients", RTFQ_RESIDUAL_NORM, RTFQ_IDENTITY_CODES,
        [](Case& c) { c.g_codes = c.g_identity = false; });
    add("no_ds", RTFQ_RESIDUAL_CODES, RTFQ_IDENTITY_CODES, [](Case& c) { c.wants_ds = false; });
    for (const auto identity : identities) {
      add("g_z_not_stored", RTFQ_RESIDUAL_NONE, identity, [](Case& c) { c.stores_g_z = false; });
      add("g_z_not_stored_in_place", RTFQ_RESIDUAL_NONE, identity, [](Case& c) {
        c.stores_g_z = false;
        c.place = Place::of_g_codes;
      });
    }
  }
  return cases;
}

std::vector<Case> large_cases() {
  std::vector<Case> cases;
  for (const auto type : {RTFQ_F32, RTFQ_BF16})
    for (const auto& [c, hw] : {std::pair<int64_t, int64_t>{64, 56 * 56}, {512, 28 * 28}, {2048, 49}}) {
      const std::string name = "64x" + std::to_string(hw) + "x" + std::to_string(c);
      Case inner{name, hw, c, {32, 64}, RTFQ_RESIDUAL_NONE, RTFQ_IDENTITY_NONE, type, true};
      inner.stores_g_z = false;
      inner.large = true;
      Case last{name, hw, c, {32, 64}, RTFQ_RESIDUAL_CODES, RTFQ_IDENTITY_CODES, type, true};
      last.large = true;
      for (Case one : {inner, last}) one.name += kinds(one), cases.push_back(one);
    }
  return cases;
}

}  // namespace

std::vector<Entry> normquant_entries() {
  std::vector<Entry> list;
  const auto add_forward = [&](const Case& c) {
    list.push_back(entry<NormQuantForward>(
        c.name, [=](const Contract& by) { return normquant::forward(c, by); }, c.large));
  };
  const auto add_reduce = [&](const Case& c, const std::string& suffix = "") {
    list.push_back(entry<NormQuantReduce>(
        c.name + suffix, [=](const Contract& by) { return normquant::reduce(c, by); }, c.large));
  };
  const auto add_apply = [&](const Case& c, const std::string& suffix = "") {
    list.push_back(entry<NormQuantApply>(
        c.name + suffix, [=](const Contract& by) { return normquant::apply(c, by); }, c.large));
  };
  for (const Case& c : small_cases()) {
    add_forward(c);
    add_reduce(c);
    add_apply(c);
  }
  for (const Case& c : gradient_cases()) {
    add_reduce(c);
    add_apply(c);
  }
  for (const auto type : {RTFQ_F32, RTFQ_BF16}) {
    Case c{"in_place", 8, 40, {4, 8}, RTFQ_RESIDUAL_NORM, RTFQ_IDENTITY_CODES, type};
    c.name += kinds(c);
    c.place = Place::of_g_codes;
    add_reduce(c, "_g_codes");
    c.place = Place::of_g_identity;
    add_reduce(c, "_g_identity");
    c.place = Place::of_g_z;
    add_apply(c, "_g_z");
  }
  for (const Case& c : large_cases()) {
    add_forward(c);
    add_reduce(c);
    add_apply(c);
  }
  return list;
}

}  // namespace rtfq::kernels::catalog
