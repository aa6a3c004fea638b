#include "training/divergence.h"

#include <algorithm>
#include <cmath>

namespace rtfq {
namespace {

bool finite(const Tensor& tensor) {
  const std::vector<float> values = tensor.to_vector();
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

/// The first parameter of a layer, its weight or its quantizer's step sizes, that is not finite.
const Parameter* broken_parameter(const Supernet& network, const std::string& layer) {
  for (const Parameter* p : network.parameters())
    if (p->name.starts_with(layer + ".") && !finite(p->value)) return p;
  return nullptr;
}

}  // namespace

std::string first_not_finite(Supernet& network, const Subnet& subnet, const Tensor& images,
                             std::span<const BatchPart> parts) {
  if (!finite(images)) return "the images are not finite";
  std::string found;
  network.watch([&](const std::string& layer, const Tensor& result) {
    if (found.empty() && !finite(result)) found = layer;
  });
  try {
    Tape tape(false, network.stream());
    network.forward(tape, subnet, images, parts, NormMode::batch);
  } catch (const std::exception&) {  // a network that is broken may refuse: what was heard so far counts
  }
  network.watch({});
  if (found.empty()) return {};
  const Parameter* broken = broken_parameter(network, found);
  return "the first layer whose output is not finite is " + found +
         (broken ? ", and neither is its parameter " + broken->name : ", whose parameters are finite");
}

}  // namespace rtfq
