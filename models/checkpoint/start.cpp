// From a pretrained network to a supernet's first weights.
#include <stdexcept>
#include <unordered_map>

#include "models/checkpoint/pretrained.h"

namespace rtfq::checkpoint {
namespace {

/// The first convolution's weights for a network of so many image channels.
std::vector<float> stem_weights(const Pretrained& from, int64_t image_channels, StartReport& report) {
  const PretrainedLayer& stem = from.layers.front();
  if (image_channels == stem.c) return stem.weight;
  if (image_channels != 1 || stem.c != 3)
    throw std::invalid_argument("[checkpoint] " + from.origin.file + " takes images of " +
                                std::to_string(stem.c) + " channels, the configuration has data.channels=" +
                                std::to_string(image_channels) + ": they must be equal, or 3 and 1");
  report.notes.push_back("the stem's filters for red, green and blue were added up for grey images");
  const std::size_t area = static_cast<std::size_t>(stem.filter * stem.filter);
  std::vector<float> sums(static_cast<std::size_t>(stem.k) * area);
  for (std::size_t i = 0; i < stem.weight.size(); ++i)
    sums[i / (3 * area) * area + i % area] += stem.weight[i];
  return sums;
}

std::string heading(const Origin& origin, const std::string& arch, bool sorted) {
  return "checkpoint   " + origin.file + " (" + origin.format + ", " + arch +
         (sorted ? ", channels sorted" : "") + ")\nsha256       " + origin.sha256 + "\n" +
         (origin.first.empty() ? "" : "made from    sha256 " + origin.first + "\n");
}

/// "dropped      a; b; and 3 more", or nothing.
std::string listed(const char* what, const std::vector<std::string>& items) {
  if (items.empty()) return {};
  std::string line = what;
  constexpr std::size_t shown = 8;
  for (std::size_t i = 0; i < items.size() && i < shown; ++i) line += (i ? "; " : "") + items[i];
  if (items.size() > shown) line += "; and " + std::to_string(items.size() - shown) + " more";
  return line + "\n";
}

}  // namespace

StartReport start_from(Supernet& network, const Pretrained& from, bool every_architecture) {
  const SupernetOptions& options = network.options();
  if (network.spec().name != from.spec.name)
    throw std::invalid_argument("[checkpoint] " + from.origin.file + " holds a " + from.spec.name +
                                ", the configuration has model.arch=" + network.spec().name +
                                ": set model.arch=" + from.spec.name + " or give another checkpoint");
  StartReport report{from.origin, from.spec.name, from.sorted, 0, from.dropped, {}, from.notes};
  std::unordered_map<std::string, Parameter*> parameters;
  for (Parameter* p : network.parameters()) parameters[p->name] = p;
  const auto load = [&](const std::string& name, const std::vector<float>& values) {
    const Tensor& into = parameters.at(name)->value;
    into.copy_from(Tensor::from(values, into.dims(), into.device()));
    report.taken += into.count();
  };
  for (std::size_t i = 0; i < from.layers.size(); ++i) {
    const PretrainedLayer& layer = from.layers[i];
    const bool stem = i == 0;
    const int64_t c = stem ? options.image_channels : layer.c;
    const std::vector<float> weight = stem ? stem_weights(from, c, report) : layer.weight;
    load(layer.name + ".weight", to_krsc(weight, layer.k, c, layer.filter));
    SwitchableNorm& norm = *network.norms().at(i);
    norm.load_affine(layer.scale, layer.shift);
    norm.load_statistics(layer.mean, layer.variance, every_architecture);
    report.taken += 4 * layer.k;
  }
  if (from.classes == options.classes) {
    load("classifier.weight", from.classifier);
    load("classifier.bias", from.bias);
  } else {
    if (from.classes)
      report.dropped.push_back("fc, the classifier of " + std::to_string(from.classes) + " classes");
    report.initialised.push_back("the classifier of " + std::to_string(options.classes) +
                                 " classes (random)");
  }
  if (options.bank.bits != std::vector<int>{float_bits})
    report.initialised.push_back("step sizes (from the first quantized batch)");
  report.initialised.push_back(every_architecture
                                   ? "norm statistics of quantized subnets (from training or calibration)"
                                   : "norm statistics of all but the full network at full precision "
                                     "(from training or calibration)");
  network.weights_changed();
  return report;
}

std::unique_ptr<Supernet> as_supernet(const Pretrained& from, const Subnet& subnet, int multiple) {
  if (from.classes == 0)
    throw std::invalid_argument("[checkpoint] " + from.origin.file +
                                " has no classifier (fc.weight): there are no logits to compute");
  if (subnet.bits != float_bits)
    throw std::invalid_argument("[checkpoint] " + from.origin.file + " has no step sizes for " +
                                std::to_string(subnet.bits) + " bits: a bank trained from it has them");
  SupernetOptions options;
  options.arch = from.spec.name;
  options.classes = from.classes;
  options.image_channels = from.image_channels;
  options.domain_norms = false;
  options.bank = {{1}, {1}, {subnet.resolution}, {float_bits}, multiple};
  if (subnet.width != 1) options.bank.widths.push_back(subnet.width);
  if (subnet.depth != 1) options.bank.depths.push_back(subnet.depth);
  auto network = std::make_unique<Supernet>(options, 1);
  start_from(*network, from, true);
  return network;
}

std::string report_text(const StartReport& report) {
  return heading(report.origin, report.arch, report.sorted) + "taken        " + std::to_string(report.taken) +
         " numbers\n" + listed("dropped      ", report.dropped) +
         listed("initialised  ", report.initialised) + listed("notes        ", report.notes);
}

std::string description(const Pretrained& network) {
  int64_t parameters = static_cast<int64_t>(network.classifier.size() + network.bias.size());
  for (const PretrainedLayer& layer : network.layers)
    parameters += static_cast<int64_t>(layer.weight.size()) + 2 * layer.k;
  return heading(network.origin, network.spec.name, network.sorted) + "network      " +
         std::to_string(network.layers.size()) + " convolutions with norms, " +
         std::to_string(network.image_channels) + " channel(s) in, " +
         (network.classes ? std::to_string(network.classes) + " classes" : std::string("no classifier")) +
         ", " + std::to_string(parameters) + " parameters\n" + listed("dropped      ", network.dropped) +
         listed("notes        ", network.notes);
}

}  // namespace rtfq::checkpoint
