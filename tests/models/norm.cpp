#include "models/norm.h"

#include <catch2/catch.hpp>

#include "tests/support/numeric.h"

using namespace rtfq;
using test::normal;
using test::relative_l2;

namespace {

const Bank bank{{1.0, 0.5}, {1.0}, {16, 8}, {8, 4}, 8};

std::vector<float> run(SwitchableNorm& norm, const Subnet& subnet, const Tensor& x, NormMode mode,
                       std::vector<BatchPart> parts) {
  Tape dry(false);
  return norm.forward(dry, Tape::constant(x), place(bank, subnet), parts, mode).data.to_vector();
}

Tensor buffer(SwitchableNorm& norm, const std::string& name) {
  for (auto& [other, tensor] : norm.buffers())
    if (other == name) return tensor;
  FAIL("no buffer " << name);
  return {};
}

}  // namespace

TEST_CASE("norm: calibration stores mean and variance of all values, whatever the batches") {
  SwitchableNorm norm("n", 16, bank, true, AffineOwner::architecture, 0.1);
  const Subnet subnet{1.0, 1.0, 8, 4};
  const Tensor x = normal({10, 3, 3, 16}, 1, 2.0f);
  norm.reset(place(bank, subnet), Domain::target);
  run(norm, subnet, x.slice(0, 0, 3).clone(), NormMode::calibrate, {{Domain::target, 3}});
  run(norm, subnet, x.slice(0, 3, 7).clone(), NormMode::calibrate, {{Domain::target, 7}});
  // Normalizing all images with these is normalizing them with their own statistics.
  const auto stored = run(norm, subnet, x, NormMode::stored, {{Domain::target, 10}});
  const auto own = run(norm, subnet, x, NormMode::batch, {{Domain::target, 10}});
  CHECK(relative_l2(stored, own) < 1e-5);
  CHECK_THROWS_WITH(run(norm, subnet, x, NormMode::stored, {{Domain::source, 10}}),
                    Catch::Contains("calibrate it first"));
  CHECK_THROWS_WITH(run(norm, {1.0, 1.0, 8, 8}, x, NormMode::stored, {{Domain::target, 10}}),
                    Catch::Contains("calibrate it first"));
}

TEST_CASE("norm: domains are normalized apart, shared norms together") {
  const Tensor x = Tensor::empty({4, 1, 1, 16});
  for (int64_t i = 0; i < x.count(); ++i)
    x.as<float>()[i] = i < 32 ? (i < 16 ? -1.0f : 1.0f) : (i < 48 ? 99.0f : 101.0f);
  const std::vector<BatchPart> parts{{Domain::source, 2}, {Domain::target, 4}};
  SwitchableNorm apart("a", 16, bank, true, AffineOwner::architecture, 0.1),
      together("t", 16, bank, false, AffineOwner::architecture, 0.1);
  const auto a = run(apart, bank.largest(), x, NormMode::train, parts);
  CHECK(a[0] == Approx(-1).margin(1e-4));
  CHECK(a[63] == Approx(1).margin(1e-4));
  const auto t = run(together, bank.largest(), x, NormMode::train, parts);
  CHECK(t[0] == Approx(-1.01).margin(0.02));
  CHECK(t[31] == Approx(-0.98).margin(0.02));
  CHECK(buffer(apart, "a.target.w1.d1.mean").as<float>()[0] == 100.0f);
  CHECK(buffer(apart, "a.source.w1.d1.mean").as<float>()[0] == 0.0f);
  CHECK(buffer(together, "t.w1.d1.mean").as<float>()[0] == 50.0f);
}

TEST_CASE("norm: running statistics follow with momentum and unbiased variance") {
  SwitchableNorm norm("n", 16, bank, true, AffineOwner::architecture, 0.25);
  const auto constant = [](float low, float high) {
    Tensor x = Tensor::empty({2, 1, 1, 16});
    for (int64_t i = 0; i < 32; ++i) x.as<float>()[i] = i < 16 ? low : high;
    return x;
  };
  run(norm, bank.largest(), constant(0, 2), NormMode::train, {{Domain::source, 2}});
  run(norm, bank.largest(), constant(4, 8), NormMode::train, {{Domain::source, 2}});
  CHECK(buffer(norm, "n.source.w1.d1.mean").as<float>()[0] == Approx(0.75 * 1 + 0.25 * 6));
  CHECK(buffer(norm, "n.source.w1.d1.variance").as<float>()[0] == Approx(0.75 * 2 + 0.25 * 8));
}

TEST_CASE("norm: scale and shift spread to widths and domains") {
  SwitchableNorm norm("n", 16, bank, true, AffineOwner::architecture, 0.1);
  for (Parameter* p : norm.parameters())
    if (p->name == "n.source.w1.d1.scale")
      for (int64_t i = 0; i < 16; ++i) p->value.as<float>()[i] = static_cast<float>(i);
  norm.spread_affine();
  norm.copy_affine(Domain::source, Domain::target);
  int found = 0;
  for (Parameter* p : norm.parameters())
    if (p->name == "n.target.w0.5.d1.scale") {
      REQUIRE(p->value.count() == 8);
      CHECK(p->value.as<float>()[7] == 7.0f);
      ++found;
    }
  CHECK(found == 1);
}

TEST_CASE("norm: subnets may own their scale and shift") {
  SwitchableNorm norm("n", 16, bank, true, AffineOwner::subnet, 0.1);
  // 2 domains, 2 widths, 2 resolutions, 2 bit-widths and full precision; scale and shift each.
  CHECK(norm.parameters().size() == 2 * 2 * 2 * 3 * 2);
  const Tensor x = normal({4, 2, 2, 16}, 3), g = normal({4, 2, 2, 16}, 4);
  const BatchPart part{Domain::source, 4};
  Tape tape(true);
  const Variable y =
      norm.forward(tape, Tape::constant(x), place(bank, {1, 1, 8, 4}), std::span(&part, 1), NormMode::train);
  tape.backward(y, g);
  int touched = 0;
  for (const Parameter* p : norm.parameters()) touched += p->touched;
  CHECK(touched == 2);
  // What the phase at full precision has learned becomes everybody's.
  for (Parameter* p : norm.parameters()) p->value.as<float>()[0] = 7;
  const int slot = place(bank, {1, 1, 16, float_bits}).slot;
  for (Parameter* p : norm.parameters())
    if (p->name == "n.source.w1.d1.slot" + std::to_string(slot) + ".scale") p->value.as<float>()[0] = 3;
  norm.spread_affine();
  int spread = 0;
  for (const Parameter* p : norm.parameters())
    spread += p->name.rfind("n.source", 0) == 0 && p->name.ends_with("scale") && p->value.as<float>()[0] == 3;
  CHECK(spread == 2 * 2 * 3);
}

TEST_CASE("norm: every subnet has a slot of its own, and so has full precision") {
  std::vector<std::pair<int, int>> seen;
  for (Subnet subnet : bank.subnets()) seen.emplace_back(place(bank, subnet).arch, place(bank, subnet).slot);
  for (double width : bank.widths)
    for (int resolution : bank.resolutions) {
      const SubnetPlace at = place(bank, {width, 1.0, resolution, float_bits});
      seen.emplace_back(at.arch, at.slot);
    }
  for (const auto& [arch, slot] : seen) {
    CHECK(arch < arch_count(bank));
    CHECK(slot < slot_count(bank));
  }
  std::sort(seen.begin(), seen.end());
  CHECK(std::adjacent_find(seen.begin(), seen.end()) == seen.end());
  CHECK(static_cast<int>(seen.size()) == arch_count(bank) * slot_count(bank));
}
