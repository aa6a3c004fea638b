#include "models/supernet.h"

namespace rtfq {
namespace {

/// The quantizer of a convolution's normalized output.
std::string output_of(const std::string& conv, bool bottleneck) {
  if (conv == "stem") return "stem.output";
  const std::string block = conv.substr(0, conv.rfind('.'));
  const char number = conv.back();
  return number == (bottleneck ? '3' : '2') ? block + ".output" : block + ".inner" + number;
}

}  // namespace

SubnetCost Supernet::cost(const Subnet& subnet) const {
  return subnet_cost(options_, subnet);
}

SubnetCost subnet_cost(const SupernetOptions& options, const Subnet& subnet) {
  const ResNetSpec spec = resnet_spec(options.arch);
  const bool quantized = subnet.bits != float_bits;
  const int ends = quantized && options.first_last_bits ? options.first_last_bits : subnet.bits;
  const auto weight_bytes = [](int64_t weights, int bits) { return (weights * bits + 7) / 8; };
  const auto steps_of = [&](int64_t k) { return quantized ? (options.per_channel_weights ? k : 1) : 0; };
  SubnetCost cost;
  int64_t steps = 0, last = 0;
  // Bits of a quantizer by name, where the subnet asks for `asked`.
  const auto bits_of = [&](const std::string& name, int asked) {
    const int own = quantized ? own_bits(options.bits_exceptions, name) : 0;
    return own ? own : asked;
  };
  std::string input = "input", before_block;  // the quantizers of what this convolution and its block read
  const auto convs = plan(spec, subnet, options.bank.multiple, options.image_channels);
  for (const ConvPlan& conv : convs) {
    const bool first = &conv == &convs.front(), adds = conv.name.ends_with(".projection");
    const int bits = bits_of(conv.name, first ? ends : subnet.bits);
    if (conv.name.ends_with(".conv1")) before_block = input;
    const int activation_bits = bits_of(adds ? before_block : input, first ? ends : subnet.bits);
    if (!adds) input = output_of(conv.name, spec.bottleneck);
    const int64_t weights = conv.k * conv.c * conv.filter * conv.filter;
    cost.params += weights + 2 * conv.k;
    cost.bytes += weight_bytes(weights, bits) + 8 * conv.k;
    cost.macs += conv.macs();
    cost.bitops += conv.macs() * bits * activation_bits;
    // Weights, and the codes that the convolution's norm writes; a projection is added up instead.
    steps += steps_of(conv.k) + (quantized && !adds ? 1 : 0);
    if (!adds) last = conv.k;
  }
  const int64_t classifier = last * options.classes;
  cost.params += classifier + options.classes;
  cost.bytes += weight_bytes(classifier, bits_of("classifier", ends)) + 4 * options.classes;
  cost.macs += classifier;
  cost.bitops += classifier * bits_of("classifier", ends) * bits_of("features", ends);
  steps += steps_of(options.classes) + (quantized ? 2 : 0);  // classifier; image and features
  if (quantized && options.residual == Residual::eight_bits) {
    // Every block's sum has an identity quantizer unless a projection reads it; the last one has no other.
    for (std::size_t stage = 0; stage < spec.blocks.size(); ++stage) {
      const int64_t blocks = scaled_blocks(spec.blocks[stage], subnet.depth);
      steps += blocks - (spec.projects(stage, 0) ? 1 : 0);
    }
  }
  cost.bytes += 4 * steps;
  cost.memory = cost.bytes + activation_peak(options, subnet);
  return cost;
}

}  // namespace rtfq
