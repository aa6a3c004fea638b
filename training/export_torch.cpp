#include "training/export_torch.h"

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <regex>
#include <stdexcept>
#include <unordered_map>

#include "engine/json.h"
#include "engine/safetensors.h"
#include "models/checkpoint/layers.h"

namespace rtfq {
namespace {

/// The subnet's part of a network, by the names that checkpoints use.
class Part {
 public:
  Part(const Supernet& network, const Subnet& subnet, Domain domain)
      : network_(network), subnet_(subnet), at_(place(network.options().bank, subnet)) {
    for (const Parameter* p : network.parameters()) tensors_[p->name] = p->value;
    for (const auto& [name, tensor] : network.buffers()) tensors_[name] = tensor;
    char architecture[64];
    std::snprintf(architecture, sizeof architecture, ".w%g.d%g", subnet.width, subnet.depth);
    set_ = (network.options().domain_norms ? std::string(".") + to_string(domain) : "") + architecture;
  }

  int64_t scaled(int64_t channels) const {
    return scaled_channels(channels, subnet_.width, network_.options().bank.multiple);
  }
  /// Weights [k, c, filter, filter] of the leading channels.
  Tensor conv(const std::string& name, int64_t k, int64_t c) const {
    const Tensor& full = tensors_.at(name + ".weight");
    const int64_t filter = full.dim(1);
    const Tensor part = Tensor::empty({k, c, filter, filter});
    float* to = part.as<float>();
    for (int64_t o = 0; o < k; ++o)
      for (int64_t i = 0; i < c; ++i)
        for (int64_t at = 0; at < filter * filter; ++at)
          *to++ = full.as<float>()[(o * filter * filter + at) * full.dim(3) + i];
    return part;
  }
  /// "scale" or "shift".
  Tensor affine(const std::string& layer, const char* which) const {
    const std::string prefix = layer + ".norm" + set_;
    const auto own = tensors_.find(prefix + ".slot" + std::to_string(at_.slot) + "." + which);
    return own != tensors_.end() ? own->second : tensors_.at(prefix + "." + which);
  }
  /// "mean" or "variance".
  Tensor statistics(const std::string& layer, const char* which) const {
    const std::string prefix = layer + ".norm" + set_;
    if (tensors_.at(prefix + ".count").as<float>()[at_.slot] == 0)
      throw std::runtime_error("[export] " + id(subnet_) + " has no norm statistics yet: calibrate it first");
    const Tensor row = tensors_.at(prefix + "." + which).slice(0, at_.slot, 1);
    return row.reshaped({row.dim(1)});
  }
  Tensor whole(const std::string& name) const { return tensors_.at(name); }

 private:
  const Supernet& network_;
  Subnet subnet_;
  SubnetPlace at_;
  std::string set_;  ///< ".target.w0.5.d1"
  std::unordered_map<std::string, Tensor> tensors_;
};

/// N and M of a name in "stageN.blockM."; none of what belongs to no block.
std::optional<std::pair<std::size_t, std::size_t>> block_of(const std::string& name) {
  static const std::regex pattern("stage([0-9]{1,9})\\.block([0-9]{1,9})\\..*");
  std::smatch found;
  if (!std::regex_match(name, found, pattern)) return std::nullopt;
  return std::pair{std::stoul(found[1]), std::stoul(found[2])};
}

/// Quantizers of blocks beyond the subnet's depth have no part in it.
bool runs(const std::string& quantizer, const ResNetSpec& spec, const Subnet& subnet) {
  const auto place = block_of(quantizer);
  if (!place) return true;
  const auto [stage, block] = *place;
  return block < static_cast<std::size_t>(scaled_blocks(spec.blocks.at(stage - 1), subnet.depth));
}

/// Bounds of the quantizers that a forward pass applies; their steps go to `file`.
Json quantizers_of(const Supernet& network, const Subnet& subnet, const Part& part, TensorFile& file) {
  Json all = Json::object();
  const int ends = network.options().first_last_bits;
  std::unordered_map<std::string, int64_t> rows;
  for (const auto& layer : checkpoint::layer_names(network.spec(), 1))
    rows[layer.ours] = part.scaled(layer.k);
  rows["classifier"] = network.options().classes;
  for (const Quantizer* q : network.quantizers()) {
    if (!runs(q->name(), network.spec(), subnet)) continue;
    const bool at_end =
        q->name() == "input" || q->name() == "stem" || q->name() == "features" || q->name() == "classifier";
    const int bits = q->name().ends_with(".identity") ? 8 : at_end && ends ? ends : subnet.bits;
    if (!q->initialized(bits)) {
      // The last block's codes, where the classifier reads the identity path, are never computed.
      if (q->name().ends_with(".output") || q->name().ends_with(".identity")) continue;
      throw std::runtime_error("[export] " + q->name() + " has no " + std::to_string(bits) +
                               "-bit step size yet: no training step has used it");
    }
    const Tensor step = q->step(bits).value;
    file.tensors.emplace_back("steps." + q->name(),
                              q->options().rows > 1 ? step.leading(0, rows.at(q->name())) : step);
    all[q->name()] = {{"bits", q->used_bits(bits)}, {"qn", q->bounds(bits).qn}, {"qp", q->bounds(bits).qp}};
  }
  return all;
}

}  // namespace

void export_torch(TrainedBank& bank, const Subnet& subnet, Domain domain, const std::string& folder) {
  Supernet& network = *bank.network;
  const ResNetSpec& spec = network.spec();
  const SupernetOptions& options = network.options();
  const Part part(network, subnet, domain);
  const bool quantized = subnet.bits != float_bits;
  TensorFile file;
  Json description{{"format", "rtfq-network-1"},
                   {"subnet", id(subnet)},
                   {"arch", options.arch},
                   {"norms", options.domain_norms ? to_string(domain) : "shared"},
                   {"classes", options.classes},
                   {"class_names", bank.classes},
                   {"image_channels", options.image_channels},
                   {"resolution", subnet.resolution},
                   {"mean", bank.config.data.mean},
                   {"deviation", bank.config.data.deviation},
                   {"quantized", quantized},
                   {"residual", bank.config.model.residual},
                   {"stem_pool", spec.stem_pool}};
  Json stages = Json::array();
  const std::vector<ConvPlan> convs = plan(spec, subnet, options.bank.multiple, options.image_channels);
  std::unordered_map<std::string, ConvPlan> planned;
  for (const ConvPlan& conv : convs) planned.emplace(conv.name, conv);
  for (const auto& layer : checkpoint::layer_names(spec, options.image_channels)) {
    const auto found = planned.find(layer.ours);
    if (found == planned.end()) continue;  // deeper than the subnet
    const ConvPlan& conv = found->second;
    file.tensors.emplace_back(layer.conv + ".weight", part.conv(layer.ours, conv.k, conv.c));
    file.tensors.emplace_back(layer.norm + ".weight", part.affine(layer.ours, "scale"));
    file.tensors.emplace_back(layer.norm + ".bias", part.affine(layer.ours, "shift"));
    file.tensors.emplace_back(layer.norm + ".running_mean", part.statistics(layer.ours, "mean"));
    file.tensors.emplace_back(layer.norm + ".running_var", part.statistics(layer.ours, "variance"));
    const Json entry{{"name", layer.ours}, {"conv", layer.conv},    {"norm", layer.norm},   {"c", conv.c},
                     {"k", conv.k},        {"filter", conv.filter}, {"stride", conv.stride}};
    const auto place = block_of(layer.ours);
    if (!place) {
      description["stem"] = entry;
      continue;
    }
    const auto [stage, block] = *place;
    if (stages.size() < stage) stages.push_back(Json::array());
    if (stages.back().size() <= block) stages.back().push_back(Json::array());
    stages.back().back().push_back(entry);
  }
  description["stages"] = stages;
  const int64_t features = part.scaled(spec.stage_output(spec.blocks.size() - 1));
  description["features"] = features;
  const Tensor classifier = part.whole("classifier.weight"), fc = Tensor::empty({options.classes, features});
  for (int64_t row = 0; row < options.classes; ++row)
    std::copy_n(classifier.as<float>() + row * classifier.dim(1), features, fc.as<float>() + row * features);
  file.tensors.emplace_back("fc.weight", fc);
  file.tensors.emplace_back("fc.bias", part.whole("classifier.bias"));
  description["quantizers"] = quantized ? quantizers_of(network, subnet, part, file) : Json::object();
  if (!bank.pretrained.empty()) description["pretrained"] = parse_json(bank.pretrained);
  file.metadata = {{"format", "rtfq-network-1"}, {"subnet", id(subnet)}};

  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw std::runtime_error("[export] cannot make the folder " + folder + ": " + error.message());
  save_tensors(folder + "/model.safetensors", file);
  write_file_atomically(folder + "/network.json", print_json(description, 1) + "\n");
  write_file_atomically(folder + "/network.py", torch_network_module());
}

}  // namespace rtfq
