#pragma once
// Small banks whose step sizes and norms have seen images, packed.

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "models/packed/pack.h"
#include "tests/support/numeric.h"

namespace rtfq::test {

struct BankVariant {
  std::string arch = "resnet14_small";
  Residual residual = Residual::eight_bits;
  bool per_channel = false, symmetric = false;
  int first_last_bits = 8;
  std::vector<int> bits{8, 6, 4};
  AffineOwner affine = AffineOwner::architecture;
  std::vector<BitsException> exceptions = {};
  std::vector<int> resolutions{24};
  int multiple = 8;
  std::vector<double> widths{1.0, 0.5};
};

inline SupernetOptions packed_options(const BankVariant& v) {
  SupernetOptions options;
  options.arch = v.arch;
  options.classes = 5;
  options.image_channels = 3;
  options.bank = {v.widths, {1.0, 0.5}, v.resolutions, v.bits, v.multiple};
  options.residual = v.residual;
  options.per_channel_weights = v.per_channel;
  options.symmetric_weights = v.symmetric;
  options.first_last_bits = v.first_last_bits;
  options.norm_affine = v.affine;
  options.bits_exceptions = v.exceptions;
  options.integer = true;
  options.image_bound = 3;
  return options;
}

/// Every subnet of the bank has seen one batch; scales and shifts are not their first values.
inline std::unique_ptr<Supernet> seen_bank(const BankVariant& v, uint64_t seed = 1) {
  auto net = std::make_unique<Supernet>(packed_options(v), seed);
  Random random(seed, Purpose::test, 77);
  for (Parameter* p : net->parameters())
    for (int64_t i = 0; p->kind == ParameterKind::norm && i < p->value.count(); ++i)
      p->value.as<float>()[i] += 0.2f * random.normal();
  for (const Subnet& subnet : net->options().bank.subnets()) {
    const Tensor images = normal({4, subnet.resolution, subnet.resolution, 3}, 2);
    const BatchPart part{Domain::target, 4};
    Tape tape(true);
    net->forward(tape, subnet, images, std::span(&part, 1), NormMode::train);
  }
  return net;
}

inline packed::PackInfo pack_info() {
  packed::PackInfo info;
  info.made_by = "rtfq test";
  info.classes = {"ant", "bee", "cat", "dog", "elk"};
  info.preprocessing = {3, {0.5f, 0.4f, 0.3f}, {0.25f, 0.5f, 0.5f}, 40, false, false, false, 32};
  info.criteria = {{"target-labels", "accuracy on the target's labels, percent"}};
  return info;
}

inline std::vector<packed::SubnetEntry> entries_of(const Supernet& net, const std::vector<Subnet>& subnets) {
  std::vector<packed::SubnetEntry> entries;
  for (const Subnet& subnet : subnets)
    entries.push_back(
        {subnet, net.cost(subnet), {{"target-labels", 50.0 + static_cast<double>(entries.size())}}});
  return entries;
}

/// The whole bank as a file.
inline std::vector<unsigned char> packed_bank(const Supernet& net) {
  return packed::pack(net, Domain::target, entries_of(net, net.options().bank.subnets()), pack_info());
}

}  // namespace rtfq::test
