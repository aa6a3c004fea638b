#include "models/memory_plan.h"

#include <catch2/catch.hpp>

#include "models/supernet.h"

using namespace rtfq;

TEST_CASE("memory plan: a buffer lives from its writer to its last reader") {
  MemoryPlan plan;
  const auto a = plan.write(100);
  plan.run({});  // 100
  const auto b = plan.write(10);
  plan.run({a});  // 110
  const auto c = plan.write(1);
  plan.run({b});  // as far as is known, a is gone: 11
  CHECK(plan.peak() == 110);
  plan.write(50);
  plan.run({a, c});  // now a was there all along, b is gone: 151
  CHECK(plan.peak() == 151);
  plan.write(200);
  plan.run({c});  // 201
  CHECK(plan.peak() == 201);
  CHECK(MemoryPlan().peak() == 0);
}

namespace {

int64_t peak(const std::string& arch, const Subnet& subnet, Residual residual, int first_last_bits = 8) {
  SupernetOptions options;
  options.arch = arch;
  options.classes = 5;
  options.image_channels = 1;
  options.bank = {{1.0, 0.5}, {1.0}, {subnet.resolution}, {8, 4}, 8};
  options.residual = residual;
  options.first_last_bits = first_last_bits;
  return activation_peak(options, subnet);
}

}  // namespace

// By hand, 16x16 pixels: the image has 256 values; 8x8x32 = 2048 in the stem and stage 1, 4x4x64 = 1024 in
// stage 2, 2x2x128 = 512 in stage 3; two blocks a stage.
TEST_CASE("memory plan: activations of a small network, computed by hand") {
  const Subnet four{1.0, 1.0, 16, 4}, eight{1.0, 1.0, 16, 8}, full{1.0, 1.0, 16, float_bits};
  // 4 bits, identity of 8: stage 1, block 1, second convolution reads inner codes (1024 bytes) and the
  // identity (2048) and writes codes (1024) and identity (2048). Stage 2's first block ends as high: inner
  // codes 512, projection in f32 4096, codes 512, identity 1024.
  CHECK(peak("resnet14_small", four, Residual::eight_bits) == 6144);
  CHECK(peak("resnet14_small", eight, Residual::eight_bits) == 4 * 2048);
  // The codes are the identity: highest is stage 2's projection, codes 1024, inner codes 512, f32 4096.
  CHECK(peak("resnet14_small", four, Residual::codes) == 1024 + 512 + 4096);
  // The identity is f32: 8192 of the old, 8192 of the new.
  CHECK(peak("resnet14_small", four, Residual::keep_float) == 1024 + 8192 + 1024 + 8192);
  // Full precision: input of the convolution, identity, and the sum.
  CHECK(peak("resnet14_small", full, Residual::eight_bits) == 3 * 8192);
  // Half the width: half of everything.
  CHECK(peak("resnet14_small", {0.5, 1.0, 16, 4}, Residual::eight_bits) == 3072);
  // 32x32 pixels of resnet18: the stem's 16x16x64 in f32 is pooled to 8x8x64, codes of 4 bits and identity
  // of 8.
  CHECK(peak("resnet18", {1.0, 1.0, 32, 4}, Residual::eight_bits) == 65536 + 2048 + 4096);
}

TEST_CASE("memory plan: quantizers with bits of their own") {
  SupernetOptions options;
  options.arch = "resnet14_small";
  options.image_channels = 1;
  options.bank = {{1.0}, {1.0}, {16}, {4}, 8};
  const Subnet four{1.0, 1.0, 16, 4};
  REQUIRE(activation_peak(options, four) == 6144);
  // The first stage's first block, highest by 2 x 2048 of identity and 2 x 1024 of codes: 8 bits of what it
  // writes.
  options.bits_exceptions = {{"stage1.block0.output", 8}};
  CHECK(activation_peak(options, four) == 6144 + 1024);
  options.bits_exceptions = {{"stage1.block0.output.identity", 4}};
  // Now stage 2's first block is highest.
  CHECK(activation_peak(options, four) == 6144);
  options.bits_exceptions.push_back({"stage2.*", 8});
  CHECK(activation_peak(options, four) == 1024 + 4096 + 1024 + 1024);
}

TEST_CASE("memory plan: a subnet needs its weights and its activations") {
  SupernetOptions options;
  options.arch = "resnet14_small";
  options.classes = 5;
  options.image_channels = 1;
  options.bank = {{1.0, 0.5}, {1.0}, {16}, {8, 4}, 8};
  const Supernet net(options, 1);
  for (const Subnet& subnet : options.bank.subnets()) {
    const SubnetCost cost = net.cost(subnet);
    CHECK(cost.memory == cost.bytes + activation_peak(options, subnet));
  }
}
