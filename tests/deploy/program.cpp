// Packed subnets against the integer evaluation of the network they come from: every code and every logit.
#include "models/deploy/program.h"

#include <catch2/catch.hpp>
#include <set>

#include "kernels/operator.h"
#include "kernels/runtime/device.h"
#include "models/deploy/observed.h"
#include "tests/deploy/banks.h"
#include "tests/support/with_amx.h"

using namespace rtfq;
using namespace rtfq::test;

namespace {

using Answer = deploy::Observed;

/// What evaluation computes; codes from what each quantizer is given.
Answer evaluated(Supernet& net, const Subnet& subnet, const Tensor& images) {
  return deploy::observe(net, subnet, Domain::target, images);
}

/// Of several threads, or by one alone, which takes images one by one while they are large.
Answer deployed(const packed::Model& model, const Subnet& subnet, const Tensor& images, int threads = 2) {
  deploy::Weights weights;
  const deploy::Program program(model, model.index(subnet), images.dim(0), weights, threads);
  const auto arena = memory::allocate({}, program.arena_bytes());
  std::memset(arena.get(), 0xff, program.arena_bytes());
  return deploy::observe(program, model.classes().size(), images, arena.get());
}

void require_equal(const Answer& expected, const Answer& got) {
  REQUIRE(expected.codes.size() == got.codes.size());
  for (const auto& [name, codes] : expected.codes) {
    INFO(name);
    REQUIRE(got.codes.count(name) == 1);
    CHECK(got.codes.at(name) == codes);
  }
  REQUIRE(expected.logits.size() == got.logits.size());
  CHECK(std::memcmp(expected.logits.data(), got.logits.data(), 4 * got.logits.size()) == 0);
}

void compare_bank(const BankVariant& variant) {
  const auto net = seen_bank(variant);
  const auto file = packed_bank(*net);
  const packed::Model model(file);
  int compared = 0;
  for (const Subnet& subnet : net->options().bank.subnets()) {
    INFO(variant.arch << " " << id(subnet));
    const Tensor images = normal({2, subnet.resolution, subnet.resolution, 3}, 5);
    const Answer expected = evaluated(*net, subnet, images);
    require_equal(expected, deployed(model, subnet, images));
    require_equal(expected, deployed(model, subnet, images, 1));
    // In two passes, as processors without the fused kernel compute it.
    kernels::prefer("convquant.forward", "naive");
    require_equal(expected, deployed(model, subnet, images));
    require_equal(expected, deployed(model, subnet, images, 1));
    kernels::prefer("convquant.forward", "");
    if (WithAmx::possible()) {
      const WithAmx amx;
      require_equal(expected, deployed(model, subnet, images));
      require_equal(expected, deployed(model, subnet, images, 1));
    }
    ++compared;
  }
  CHECK(compared == static_cast<int>(4 * variant.bits.size() * variant.resolutions.size()));
}

}  // namespace

TEST_CASE("deploy: a packed bank computes evaluation's codes and logits, bit for bit") {
  compare_bank({.bits = {8, 4}, .resolutions = {32, 24}});
  compare_bank({.residual = Residual::codes, .per_channel = true, .bits = {6}});
  compare_bank({.residual = Residual::keep_float, .symmetric = true, .first_last_bits = 0, .bits = {8, 4}});
}

TEST_CASE("deploy: bottlenecks, a pooled stem, every bit-width, exceptions and norms of each subnet's own") {
  compare_bank({.arch = "resnet50_w8", .bits = {4}});
  compare_bank({.arch = "resnet50_w8", .residual = Residual::keep_float, .bits = {8}});
  compare_bank({.arch = "resnet50_w8", .residual = Residual::codes, .bits = {5}});
  compare_bank({.arch = "resnet18_w8", .residual = Residual::keep_float, .bits = {2}});
  compare_bank(
      {.arch = "resnet18_w8", .residual = Residual::codes, .bits = {7}, .affine = AffineOwner::subnet});
  compare_bank({.bits = {3}, .exceptions = {{"stage1.*", 8}, {"stage2.block0.output", 5}, {"stem", 4}}});
}

TEST_CASE("deploy: every layer multiplies u8 by s8, the first one s8 by s8, fused or in two passes") {
  for (const char* arch : {"resnet18_w8", "resnet50_w8"})
    for (const char* kernel : {"", "naive"}) {
      const auto net = seen_bank({.arch = arch, .bits = {8, 4}});
      const auto file = packed_bank(*net);
      const packed::Model model(file);
      kernels::prefer("convquant.forward", kernel);
      for (std::size_t i = 0; i < model.subnets().size(); ++i) {
        deploy::Weights weights;
        const deploy::Program program(model, i, 1, weights);
        const auto walk = model.walk_of(i);
        REQUIRE(program.layers().size() == walk.convs.size() + 1);
        std::multiset<std::string> names, expected{"classifier"};
        for (const ConvPlan& conv : walk.convs) expected.insert(conv.name);
        for (const auto& layer : program.layers()) {
          INFO(arch << " " << kernel << " " << layer.name);
          names.insert(layer.name);
          CHECK(layer.x == (layer.name == walk.convs.front().name ? RTFQ_S8 : RTFQ_U8));
          CHECK(layer.w == RTFQ_S8);
          CHECK((layer.operation == "convquant.forward") == (std::string(kernel) != "naive"));
        }
        CHECK(names == expected);
      }
      kernels::prefer("convquant.forward", "");
    }
}

TEST_CASE("deploy: a single subnet's file computes what the bank's does") {
  const auto net = seen_bank({});
  const Subnet subnet{0.5, 1.0, 24, 4};
  const auto one = packed::pack(*net, Domain::target, entries_of(*net, {subnet}), pack_info());
  CHECK(one.size() < packed_bank(*net).size() / 4);
  const packed::Model model(one);
  CHECK(model.layer("stage1.block0.conv1").k == 16);
  const Tensor images = normal({2, 24, 24, 3}, 5);
  require_equal(evaluated(*net, subnet, images), deployed(model, subnet, images));
}

TEST_CASE("deploy: an image's answer does not depend on its batch nor on the number of threads") {
  const auto net = seen_bank({});
  const auto file = packed_bank(*net);
  const packed::Model model(file);
  const Subnet subnet = model.subnets().front().subnet;
  const Tensor images = normal({5, 24, 24, 3}, 5);
  const auto all = deployed(model, subnet, images).logits;
  const int threads = kernels::runtime::threads();
  for (int64_t i = 0; i < 5; ++i) {
    kernels::runtime::set_threads(1 + static_cast<int>(i % 2));
    const auto one = deployed(model, subnet, images.slice(0, i, 1).clone()).logits;
    CHECK(std::memcmp(one.data(), all.data() + i * 5, 20) == 0);
  }
  kernels::runtime::set_threads(threads);
}

TEST_CASE("deploy: subnets share the weights that are the same") {
  const auto net = seen_bank({});
  const auto file = packed_bank(*net);
  const packed::Model model(file);
  deploy::Weights weights;
  const deploy::Program wide(model, model.index({1.0, 1.0, 24, 8}), 1, weights);
  const std::size_t alone = weights.bytes();
  const deploy::Program shallow(model, model.index({1.0, 0.5, 24, 8}), 1, weights);
  CHECK(weights.bytes() == alone);
  const deploy::Program fewer_bits(model, model.index({1.0, 1.0, 24, 4}), 1, weights);
  CHECK(weights.bytes() > alone);
}
