#include "models/supernet.h"

namespace rtfq {

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
  const auto convs = plan(spec, subnet, options.bank.multiple, options.image_channels);
  for (const ConvPlan& conv : convs) {
    const int bits = &conv == &convs.front() ? ends : subnet.bits;
    const int64_t weights = conv.k * conv.c * conv.filter * conv.filter;
    cost.params += weights + 2 * conv.k;
    cost.bytes += weight_bytes(weights, bits) + 8 * conv.k;
    cost.macs += conv.macs();
    cost.bitops += conv.macs() * bits * bits;
    // Weights, and the codes that the convolution's norm writes; a projection is added up instead.
    const bool adds = conv.name.ends_with(".projection");
    steps += steps_of(conv.k) + (quantized && !adds ? 1 : 0);
    if (!adds) last = conv.k;
  }
  const int64_t classifier = last * options.classes;
  cost.params += classifier + options.classes;
  cost.bytes += weight_bytes(classifier, ends) + 4 * options.classes;
  cost.macs += classifier;
  cost.bitops += classifier * ends * ends;
  steps += steps_of(options.classes) + (quantized ? 2 : 0);  // classifier; image and features
  if (quantized && options.residual == Residual::eight_bits) {
    // Every block's sum has an identity quantizer unless a projection reads it; the last one has no other.
    for (std::size_t stage = 0; stage < spec.blocks.size(); ++stage) {
      const int64_t blocks = scaled_blocks(spec.blocks[stage], subnet.depth);
      steps += blocks - (spec.projects(stage, 0) ? 1 : 0);
    }
  }
  cost.bytes += 4 * steps;
  return cost;
}

}  // namespace rtfq
