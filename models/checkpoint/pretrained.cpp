#include "models/checkpoint/pretrained.h"

#include <cmath>
#include <stdexcept>

#include "engine/safetensors.h"
#include "engine/sha256.h"
#include "models/checkpoint/layers.h"
#include "models/checkpoint/recognize.h"

namespace rtfq::checkpoint {
namespace {

constexpr const char* bank_format = "rtfq-pretrained-1";

/// f32 values; a NaN or an infinity would spoil every subnet, so it is found here.
std::vector<float> values_of(const StateDict& dict, const std::string& name) {
  std::vector<float> values = formats::to_f32(dict.tensors.at(name));
  for (const float value : values)
    if (!std::isfinite(value))
      throw std::runtime_error("tensor " + name +
                               " has values that are not finite: the file is damaged or the "
                               "training that made it diverged");
  return values;
}

std::vector<float> variance_of(const StateDict& dict, const std::string& name) {
  std::vector<float> values = values_of(dict, name);
  for (const float value : values)
    if (value < 0) throw std::runtime_error("tensor " + name + " has negative variances");
  return values;
}

Pretrained assemble(const StateDict& dict) {
  const Recognized found = recognize(dict);
  Pretrained network;
  network.spec = found.spec;
  network.image_channels = found.image_channels;
  network.classes = found.classes;
  for (const LayerName& layer : layer_names(found.spec, found.image_channels))
    network.layers.push_back(
        {layer.ours, layer.k, layer.c, layer.filter, values_of(dict, layer.conv + ".weight"),
         values_of(dict, layer.norm + ".weight"), values_of(dict, layer.norm + ".bias"),
         values_of(dict, layer.norm + ".running_mean"), variance_of(dict, layer.norm + ".running_var")});
  if (found.classes) {
    network.classifier = values_of(dict, "fc.weight");
    network.bias = values_of(dict, "fc.bias");
  }
  network.dropped = dict.dropped;
  network.notes = dict.notes;
  std::size_t counters = 0;
  for (const auto& [name, array] : dict.tensors) {
    if (name.ends_with(".num_batches_tracked")) {
      ++counters;
    } else if (!name.starts_with("layer") && !name.starts_with("conv1.") && !name.starts_with("bn1.") &&
               !name.starts_with("fc.")) {
      network.dropped.push_back(name);
    }
  }
  if (counters) network.dropped.push_back("num_batches_tracked of " + std::to_string(counters) + " norms");
  return network;
}

std::string metadata_of(const formats::TensorList& list, const std::string& key) {
  const auto found = list.metadata.find(key);
  return found == list.metadata.end() ? "" : found->second;
}

/// A mapping between [k][c][r][s] and [k][r][s][c].
template <class Copy>
void each_weight(int64_t k, int64_t c, int64_t filter, const Copy& copy) {
  const int64_t area = filter * filter;
  for (int64_t o = 0; o < k; ++o)
    for (int64_t i = 0; i < c; ++i)
      for (int64_t at = 0; at < area; ++at)
        copy(static_cast<std::size_t>((o * c + i) * area + at),
             static_cast<std::size_t>((o * area + at) * c + i));
}

}  // namespace

std::vector<float> to_krsc(const std::vector<float>& oihw, int64_t k, int64_t c, int64_t filter) {
  std::vector<float> krsc(oihw.size());
  each_weight(k, c, filter, [&](std::size_t from, std::size_t to) { krsc[to] = oihw[from]; });
  return krsc;
}

std::vector<float> to_oihw(const std::vector<float>& krsc, int64_t k, int64_t c, int64_t filter) {
  std::vector<float> oihw(krsc.size());
  each_weight(k, c, filter, [&](std::size_t to, std::size_t from) { oihw[to] = krsc[from]; });
  return oihw;
}

Pretrained read_pretrained(const std::string& path, const ReadOptions& options) {
  const std::vector<unsigned char> bytes = formats::read_whole_file(path);
  Pretrained network;
  try {
    const formats::TensorList list = formats::read_tensors(bytes);
    if (metadata_of(list, "format") == "rtfq-checkpoint-1")
      throw std::runtime_error("it is the checkpoint of a run of rtfq, not a pretrained network");
    network = assemble(state_dict(list, options.weights));
    network.origin = {path, sha256(bytes.data(), bytes.size()), list.format, ""};
    if (metadata_of(list, "format") == bank_format) {
      network.origin.first = metadata_of(list, "source_sha256");
      network.sorted = metadata_of(list, "sorted") == "true";
    }
  } catch (const std::runtime_error& error) {
    throw std::runtime_error("[checkpoint] " + path + ": " + error.what());
  }
  if (!options.arch.empty() && options.arch != network.spec.name)
    throw std::invalid_argument("[checkpoint] " + path + " holds a " + network.spec.name + ", expected " +
                                options.arch);
  return network;
}

void save_pretrained(const std::string& path, const Pretrained& network) {
  TensorFile file;
  const std::vector<LayerName> names = layer_names(network.spec, network.image_channels);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const PretrainedLayer& layer = network.layers[i];
    file.tensors.emplace_back(names[i].conv + ".weight",
                              Tensor::from(layer.weight, {layer.k, layer.c, layer.filter, layer.filter}));
    const auto add = [&](const char* part, const std::vector<float>& values) {
      file.tensors.emplace_back(names[i].norm + part, Tensor::from(values, {layer.k}));
    };
    add(".weight", layer.scale);
    add(".bias", layer.shift);
    add(".running_mean", layer.mean);
    add(".running_var", layer.variance);
  }
  if (network.classes) {
    const int64_t features = static_cast<int64_t>(network.classifier.size()) / network.classes;
    file.tensors.emplace_back("fc.weight", Tensor::from(network.classifier, {network.classes, features}));
    file.tensors.emplace_back("fc.bias", Tensor::from(network.bias, {network.classes}));
  }
  file.metadata = {
      {"format", bank_format},
      {"arch", network.spec.name},
      {"sorted", network.sorted ? "true" : "false"},
      {"source", network.origin.file},
      {"source_sha256", network.origin.first.empty() ? network.origin.sha256 : network.origin.first}};
  save_tensors(path, file);
}

}  // namespace rtfq::checkpoint
