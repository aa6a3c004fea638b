#include "models/bank.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "models/resnet.h"

using namespace rtfq;

TEST_CASE("bank: the presets have 48 subnets that really differ") {
  const std::pair<const char*, const char*> fits[] = {{"rtfq48", "resnet50"},
                                                      {"rtfq48", "resnet101"},
                                                      {"rtfq48", "resnet18"},
                                                      {"anyda48", "resnet50"},
                                                      {"small48", "resnet14_small"}};
  for (const auto& [preset, arch] : fits) {
    const Bank bank = bank_preset(preset);
    CHECK(checked(bank) == bank);
    CHECK(bank.subnets().size() == 48);
    std::set<std::string> ids;
    for (const Subnet& subnet : bank.subnets()) ids.insert(id(subnet));
    CHECK(ids.size() == 48);
    for (std::size_t i = 0; i < 48; ++i) CHECK(bank.index(bank.subnets()[i]) == static_cast<int>(i));
    CHECK_NOTHROW(require_distinct(resnet_spec(arch), bank));
  }
  CHECK_THROWS_WITH(bank_preset("rtfq"), Catch::Contains("rtfq48, anyda48 or small48"));
}

TEST_CASE("bank: widths that round to the same channels are refused") {
  Bank bank = bank_preset("small48");
  bank.widths = {1.0, 0.99, 0.5};
  CHECK_THROWS_WITH(require_distinct(resnet_spec("resnet14_small"), bank),
                    Catch::Contains("are the same network"));
  bank = bank_preset("anyda48");
  bank.depths = {1.0, 0.95};
  CHECK_THROWS_WITH(require_distinct(resnet_spec("resnet18"), bank), Catch::Contains("are the same network"));
}

TEST_CASE("bank: impossible values are named") {
  Bank bank;
  bank.bits = {8, 1};
  CHECK_THROWS_WITH(checked(bank), Catch::Contains("2 to 8, or 32 for full precision, got 1"));
  bank.bits = {8, 8};
  CHECK_THROWS_WITH(checked(bank), Catch::Contains("lists 8 twice"));
  bank.bits = {8};
  bank.widths = {0.9};
  CHECK_THROWS_WITH(checked(bank), Catch::Contains("must contain 1"));
  bank.widths = {1, 0};
  CHECK_THROWS_WITH(checked(bank), Catch::Contains("a fraction in (0, 1], got 0"));
  bank.widths = {};
  CHECK_THROWS_WITH(checked(bank), Catch::Contains("widths is empty"));
}

TEST_CASE("bank: channels round to the nearest multiple, ties up") {
  CHECK(scaled_channels(64, 0.95, 16) == 64);
  CHECK(scaled_channels(64, 0.9, 16) == 64);
  CHECK(scaled_channels(64, 0.85, 16) == 48);
  CHECK(scaled_channels(48, 0.5, 16) == 32);  // 24 is a tie
  CHECK(scaled_channels(256, 0.9, 16) == 224);
  CHECK(scaled_channels(32, 0.1, 16) == 16);
  CHECK(scaled_channels(20, 1.0, 16) == 20);
  CHECK(scaled_blocks(3, 0.5) == 2);
  CHECK(scaled_blocks(1, 0.5) == 1);
}

TEST_CASE("bank: subnets are parsed, what is left out is the largest") {
  const Bank bank = bank_preset("rtfq48");
  CHECK(parse_subnet("width=0.9,resolution=160,bits=4", bank) == Subnet{0.9, 1.0, 160, 4});
  CHECK(parse_subnet("", bank) == bank.largest());
  CHECK_THROWS_WITH(parse_subnet("width=0.8", bank),
                    Catch::Contains("width 0.8 is not in the bank; it has 1, 0.95, 0.9, 0.85"));
  CHECK_THROWS_WITH(parse_subnet("height=3", bank), Catch::Contains("unknown key 'height'"));
  CHECK_THROWS_WITH(parse_subnet("bits", bank), Catch::Contains("expected key=number"));
}

TEST_CASE("resnet: parameters and multiply-adds are torchvision's") {
  // 1000 classes; parameters as torchvision documents them, MACs of convolutions and classifier at 224
  // pixels.
  struct Known {
    const char* arch;
    int64_t params, macs;
  };
  for (const auto& [arch, params, macs] :
       {Known{"resnet18", 11689512, 1814073344}, Known{"resnet34", 21797672, 3663761408},
        Known{"resnet50", 25557032, 4089184256}, Known{"resnet101", 44549160, 7801405440},
        Known{"resnet152", 60192808, 11513626624}}) {
    int64_t conv_params = 0, conv_macs = 0, out = 0;
    for (const ConvPlan& conv : plan(resnet_spec(arch), {1.0, 1.0, 224, 8}, 16, 3)) {
      conv_params += conv.k * conv.c * conv.filter * conv.filter + 2 * conv.k;
      conv_macs += conv.macs();
      out = std::max(out, conv.k);
    }
    CHECK(conv_params + out * 1000 + 1000 == params);
    CHECK(conv_macs + out * 1000 == macs);
  }
}
