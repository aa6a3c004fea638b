// Operations on integer codes against the same operations on the values that the codes stand for.
#include "engine/ops/quantized.h"

#include <catch2/catch.hpp>
#include <map>
#include <string>

#include "tests/support/numeric.h"

using namespace rtfq;
using test::normal;
using test::relative_l2;

namespace {

/// A parameter with its gradient.
struct Leaf {
  Parameter parameter;
  explicit Leaf(const Tensor& value) : parameter("p", ParameterKind::weight, value) {}
  Variable on(Tape& tape) { return tape.leaf(parameter); }
  std::vector<float> gradient() const { return parameter.gradient.to_vector(); }
};

Tensor steps(std::vector<float> values) {
  const auto count = static_cast<int64_t>(values.size());
  return Tensor::from(values, {count});
}

constexpr float grad_scale = 0.125f;

}  // namespace

TEST_CASE("quantized: a convolution of codes is the convolution of their values, and so are its gradients") {
  for (const bool per_channel : {false, true}) {
    INFO(per_channel);
    const Tensor x = normal({2, 7, 6, 16}, 1), w = normal({24, 3, 3, 16}, 2, 0.1f);
    std::vector<float> weight_steps(per_channel ? 24 : 1);
    for (std::size_t i = 0; i < weight_steps.size(); ++i)
      weight_steps[i] = 0.01f + 0.001f * static_cast<float>(i);
    const auto a8 = kernels::quant_bounds(8, false), w4 = kernels::quant_bounds(4, true);
    Leaf xs[2] = {Leaf(x), Leaf(x)}, ws[2] = {Leaf(w), Leaf(w)},
         sa[2] = {Leaf(steps({0.013f})), Leaf(steps({0.013f}))},
         sw[2] = {Leaf(steps(weight_steps)), Leaf(steps(weight_steps))};
    Tape values(true), codes(true);
    const Variable y =
        ops::conv2d(values, ops::fakequant(values, xs[0].on(values), sa[0].on(values), a8, grad_scale),
                    ops::fakequant(values, ws[0].on(values), sw[0].on(values), w4, grad_scale), 2);
    const auto qx = ops::quantize(codes, xs[1].on(codes), {sa[1].on(codes), a8, grad_scale});
    const auto qw = ops::quantize_weight(codes, ws[1].on(codes), {sw[1].on(codes), w4, grad_scale});
    CHECK(qx.codes.data.dtype() == DType::u8);
    CHECK(qw.codes.data.dtype() == DType::s8);
    const Variable z = ops::conv2d(codes, qx, qw, 2, DType::f32);
    // Exact sums, then one rounding; the values' sums round on the way.
    CHECK(relative_l2(z.data.to_vector(), y.data.to_vector()) < 1e-6);
    const Tensor g = normal(y.data.dims(), 3);
    values.backward(y, g.clone());
    codes.backward(z, g.clone());
    CHECK(relative_l2(xs[1].gradient(), xs[0].gradient()) < 1e-6);
    CHECK(relative_l2(ws[1].gradient(), ws[0].gradient()) < 1e-6);
    CHECK(relative_l2(sa[1].gradient(), sa[0].gradient()) < 1e-5);
    CHECK(relative_l2(sw[1].gradient(), sw[0].gradient()) < 1e-5);
  }
}

TEST_CASE("quantized: a linear layer and mean pooling on codes") {
  const Tensor x = normal({3, 4, 5, 32}, 1), w = normal({7, 32}, 2, 0.1f), b = normal({7}, 3);
  const auto a8 = kernels::quant_bounds(8, false), w8 = kernels::quant_bounds(8, true);
  Leaf xs[2] = {Leaf(x), Leaf(x)}, ws[2] = {Leaf(w), Leaf(w)}, bs[2] = {Leaf(b), Leaf(b)};
  const Tensor sx = steps({0.02f}), sf = steps({0.003f}), sw = steps({0.002f});
  Tape values(true), codes(true);
  const Variable pooled =
      ops::average_pool(values, ops::fakequant(values, xs[0].on(values), Tape::constant(sx), a8, 0));
  const Variable y =
      ops::linear(values, ops::fakequant(values, pooled, Tape::constant(sf), a8, 0),
                  ops::fakequant(values, ws[0].on(values), Tape::constant(sw), w8, 0), bs[0].on(values));
  const auto qx = ops::quantize(codes, xs[1].on(codes), {Tape::constant(sx), a8});
  const Variable mean = ops::average_pool(codes, qx, DType::f32);
  CHECK(relative_l2(mean.data.to_vector(), pooled.data.to_vector()) < 1e-6);
  const auto features = ops::quantize(codes, mean, {Tape::constant(sf), a8});
  const QTensor feature_values{features.codes.data, features.step, 8, false};
  const auto qw = ops::quantize_weight(codes, ws[1].on(codes), {Tape::constant(sw), w8});
  const Variable z = ops::linear(codes, features, feature_values.dequantize(), qw, bs[1].on(codes));
  CHECK(relative_l2(z.data.to_vector(), y.data.to_vector()) < 1e-6);
  const Tensor g = normal(y.data.dims(), 4);
  values.backward(y, g.clone());
  codes.backward(z, g.clone());
  CHECK(relative_l2(xs[1].gradient(), xs[0].gradient()) < 1e-6);
  CHECK(relative_l2(ws[1].gradient(), ws[0].gradient()) < 1e-6);
  CHECK(relative_l2(bs[1].gradient(), bs[0].gradient()) < 1e-6);
}

namespace {

enum class Term { none, values, codes, norm };

/// Gradients by name, and the two results.
using Found = std::map<std::string, std::vector<float>>;

/// A sum of a normalized tensor and something else, quantized for the next convolutions and for the identity
/// path: fused, or one operation after the other. `remade`: fused, with normalized tensors that the tape does
/// not keep.
Found run_sum(bool fused, Term term, ops::IdentityForm form, bool remade = false) {
  const Dims dims{4, 3, 5, 24};
  Found found;
  Tape tape(true);
  const auto node = [&](const char* name, uint64_t seed) {  // hands its gradient to `found`
    return tape.record(normal(dims, seed), true,
                       [&found, name](Tape&, const Tensor& g) { found[name] = g.to_vector(); });
  };
  std::map<std::string, Leaf> leaves;
  const auto leaf = [&](const char* name, const Tensor& value) {
    return leaves.try_emplace(name, value).first->second.on(tape);
  };
  const auto norm = [&](const Variable& x, const char* scale, const char* shift, uint64_t seed) {
    // Two segments that share scale and shift: their gradients gather.
    const Variable a = leaf(scale, normal({24}, seed)), b = leaf(shift, normal({24}, seed + 1));
    const std::vector<ops::NormSegment> segments{{1, a, b}, {4, a, b}};
    ops::NormInput in{x, segments, ops::norm_statistics({}, x.data, segments, 1e-5f), 1e-5f};
    if (remade)
      in.remake = [again = x.data.clone(), &found] {
        found["remade"].push_back(1);
        return again;
      };
    return in;
  };
  const auto b4 = kernels::quant_bounds(4, false), b8 = kernels::quant_bounds(8, false);
  const ops::LearnedStep codes{leaf("step", steps({0.11f})), b4, grad_scale},
      identity{leaf("identity step", steps({0.012f})), b8, 2 * grad_scale},
      before{Tape::constant(steps({0.02f})), b8, 0};
  const bool has_identity = form == ops::IdentityForm::codes;

  const ops::NormInput main = norm(node("x", 1), "scale", "shift", 3);
  ops::ResidualTerm residual;
  Variable residual_values;
  if (term == Term::values) residual.values = residual_values = node("other", 2);
  if (term == Term::norm) {
    residual.norm = norm(node("other", 2), "other scale", "other shift", 5);
    if (!fused) residual_values = ops::batch_norm(tape, *residual.norm);
  }
  if (term == Term::codes) {
    const Variable other = node("other", 2);
    if (fused)
      residual.codes = ops::quantize(tape, other, before);
    else
      residual_values = ops::fakequant(tape, other, before.step, b8, 0);
  }
  Variable first, second;
  if (fused) {
    auto result = ops::norm_quant(tape, main, residual, codes, form, has_identity ? &identity : nullptr);
    found["codes"] = QTensor{result.codes.codes.data, result.codes.step, 4, false}.dequantize().to_vector();
    if (has_identity)
      found["identity"] =
          QTensor{result.identity.codes.data, result.identity.step, 8, false}.dequantize().to_vector();
    if (form == ops::IdentityForm::values) found["identity"] = result.identity_values.data.to_vector();
    first = result.codes.codes;
    second = has_identity ? result.identity.codes : result.identity_values;
  } else {
    Variable z = ops::batch_norm(tape, main);
    if (term != Term::none) z = ops::add(tape, z, residual_values);
    first = ops::fakequant(tape, z, codes.step, b4, codes.grad_scale);
    if (has_identity) second = ops::fakequant(tape, z, identity.step, b8, identity.grad_scale);
    if (form == ops::IdentityForm::values) second = ops::relu(tape, z);
    found["codes"] = first.data.to_vector();
    if (second.data.defined()) found["identity"] = second.data.to_vector();
  }
  CHECK_FALSE(found.contains("remade"));
  if (second.data.defined()) tape.accumulate(second, normal(dims, 8));
  tape.backward(first, normal(dims, 9));
  for (const auto& [name, l] : leaves) found[name] = l.gradient();
  return found;
}

}  // namespace

TEST_CASE("quantized: norm, residual and quantizers fused give the bits of one after the other") {
  for (const Term term : {Term::none, Term::values, Term::codes, Term::norm})
    for (const auto form : {ops::IdentityForm::none, ops::IdentityForm::codes, ops::IdentityForm::values}) {
      INFO("term " << static_cast<int>(term) << ", identity " << static_cast<int>(form));
      const Found expected = run_sum(false, term, form), found = run_sum(true, term, form);
      REQUIRE(found.size() == expected.size());
      for (const auto& [name, values] : expected) {
        INFO(name);
        if (name == "codes" || name == "identity")
          CHECK(found.at(name) == values);
        else
          CHECK(relative_l2(found.at(name), values) < 1e-5);
      }
      Found remade = run_sum(true, term, form, true);
      CHECK(remade["remade"].size() == (term == Term::norm ? 2 : 1));
      remade.erase("remade");
      CHECK(remade == found);
    }
}

TEST_CASE("autograd: an operation with two results runs once, with whatever gradients came back") {
  for (const bool give_first : {true, false})
    for (const bool give_second : {true, false}) {
      Tape tape(true);
      int calls = 0;
      bool had_first = false, had_second = false;
      const Tensor t = normal({2}, 1);
      auto [first, second] = tape.record(t, t.clone(), true, [&](Tape&, const Tensor& a, const Tensor& b) {
        ++calls, had_first = a.defined(), had_second = b.defined();
      });
      const Variable end = tape.record(t.clone(), true, [](Tape&, const Tensor&) {});
      if (give_first) tape.accumulate(first, normal({2}, 2));
      if (give_second) tape.accumulate(second, normal({2}, 3));
      tape.backward(end, normal({2}, 4));
      CHECK(calls == (give_first || give_second ? 1 : 0));
      CHECK(had_first == give_first);
      CHECK(had_second == give_second);
    }
}
