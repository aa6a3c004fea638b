#include "models/packed/model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "models/packed/codes.h"

namespace rtfq::packed {
namespace {

using formats::shown_name;
using nlohmann::json;

constexpr int max_resolution = 2048;  ///< keeps what running a hostile file would allocate within bounds
constexpr std::size_t max_subnets = 1024, max_layers = 512, max_activations = 1024;
constexpr int64_t max_sum_terms = 65793;  ///< of u8 and s8 codes within 32 bits

void require(bool condition, const std::string& what) {
  if (!condition) throw FormatError(what);
}

const float* floats(const Tensor& tensor) {
  require(reinterpret_cast<std::uintptr_t>(tensor.data.data()) % alignof(float) == 0,
          "the file lies at an address that is no multiple of 4");
  return reinterpret_cast<const float*>(tensor.data.data());
}

void require_finite(const float* values, int64_t count, const std::string& what) {
  for (int64_t i = 0; i < count; ++i)
    require(std::isfinite(values[i]), what + " holds a value that is not finite");
}

int bits_within(const json& value, const std::string& what, bool zero) {
  const auto bits = value.get<int64_t>();
  require((zero && bits == 0) || (bits >= 2 && bits <= 8), what + " has bits outside 2 to 8");
  return static_cast<int>(bits);
}

/// Members "b2" ... "b8" of an entry, as (bits, value).
template <class F>
void for_each_bits(const json& entry, F&& f) {
  for (int bits = 2; bits <= 8; ++bits)
    if (const auto found = entry.find("b" + std::to_string(bits)); found != entry.end()) f(bits, *found);
}

int within(const json& value, int64_t low, int64_t high, const char* what) {
  const auto number = value.get<int64_t>();
  require(number >= low && number <= high, std::string(what) + " must be within " + std::to_string(low) +
                                               " and " + std::to_string(high) + ", got " +
                                               std::to_string(number));
  return static_cast<int>(number);
}

double fraction(const json& value, const char* what) {
  const auto number = value.get<double>();
  require(number > 0 && number <= 1, std::string("a subnet's ") + what + " is not within 0 and 1");
  return number;
}

Preprocessing read_preprocessing(const json& from) {
  Preprocessing p;
  p.channels = within(from.at("channels"), 1, 3, "preprocessing.channels");
  require(p.channels != 2, "images have 1 or 3 channels, not 2");
  p.mean = from.at("mean").get<std::vector<float>>();
  p.deviation = from.at("deviation").get<std::vector<float>>();
  require(p.mean.size() == static_cast<std::size_t>(p.channels) && p.deviation.size() == p.mean.size(),
          "preprocessing needs a mean and a deviation for each channel");
  for (std::size_t c = 0; c < p.mean.size(); ++c)
    require(std::isfinite(p.mean[c]) && std::isfinite(p.deviation[c]) && p.deviation[c] > 0,
            "preprocessing has a mean that is not finite or a deviation that is not positive");
  p.crop = within(from.at("crop"), 1, max_resolution, "preprocessing.crop");
  p.resize = within(from.at("resize"), 0, 1 << 14, "preprocessing.resize");
  require(p.resize == 0 || p.resize >= p.crop, "preprocessing.resize is smaller than the crop");
  p.squash = from.at("squash").get<bool>();
  require(!p.squash || p.resize > 0, "preprocessing.squash needs a resize");
  p.bicubic = from.at("bicubic").get<bool>();
  p.exif = from.at("exif").get<bool>();
  return p;
}

SubnetCost read_cost(const json& row) {
  SubnetCost cost;
  for (const auto& [name, value] : {std::pair<const char*, int64_t*>{"params", &cost.params},
                                    {"bytes", &cost.bytes},
                                    {"macs", &cost.macs},
                                    {"bitops", &cost.bitops},
                                    {"memory", &cost.memory}}) {
    *value = row.at(name).get<int64_t>();
    require(*value >= 0, std::string("a subnet's ") + name + " is negative");
  }
  return cost;
}

template <class Named>
const Named& find(const std::vector<Named>& all, const std::string& name, const char* what) {
  for (const Named& item : all)
    if (item.name == name) return item;
  throw FormatError(std::string("the file lacks the ") + what + " " + shown_name(name));
}

}  // namespace

const Layer& Model::layer(const std::string& name) const {
  return find(layers_, name, "layer");
}
const Activation& Model::activation(const std::string& name) const {
  return find(activations_, name, "activation");
}

const Tensor& Model::tensor(const std::string& name, int bits, const std::vector<int64_t>& shape) const {
  const Tensor& found = file_.at(name);
  require(found.bits == bits && found.shape == shape,
          "the tensor " + shown_name(name) + " has another type or shape than the network needs");
  return found;
}

const float* Model::steps(int64_t first, int64_t count) const {
  const Tensor& all = file_.at("steps");
  require(all.bits == 32 && all.shape.size() == 1, "the tensor steps is not a list of f32");
  require(first >= 0 && first <= all.count() - count, "a step size lies outside the tensor steps");
  const float* values = floats(all) + first;
  for (int64_t i = 0; i < count; ++i)
    require(std::isfinite(values[i]) && values[i] > 0, "a step size is not positive");
  return values;
}

void Model::read_network(const json& metadata) {
  require(metadata.at("format") == "rtfq-model", "the metadata is not an rtfq model's");
  made_by_ = metadata.value("made_by", "");
  const json& network = metadata.at("network");
  try {
    spec_ = resnet_spec(network.at("arch").get<std::string>());
    residual_ = parse_residual(network.at("residual").get<std::string>());
  } catch (const std::invalid_argument& error) {
    throw FormatError(error.what());
  }
  multiple_ = within(network.at("channel_multiple"), 1, 1024, "channel_multiple");
  per_channel_ = network.at("per_channel_weights").get<bool>();
  classes_ = metadata.at("classes").get<std::vector<std::string>>();
  require(!classes_.empty(), "the file names no classes");
  preprocessing_ = read_preprocessing(metadata.at("preprocessing"));
  for (const json& row : metadata.at("criteria"))
    criteria_.push_back({row.at("name").get<std::string>(), row.at("words").get<std::string>()});
}

void Model::read_layers(const json& metadata) {
  require(metadata.at("layers").size() <= max_layers && metadata.at("activations").size() <= max_activations,
          "the file has more layers or activations than any network");
  for (const json& row : metadata.at("layers")) {
    Layer layer;
    layer.name = row.at("name").get<std::string>();
    layer.k = within(row.at("k"), 1, 1 << 24, "a layer's k");
    layer.c = within(row.at("c"), 1, 1 << 24, "a layer's c");
    layer.filter = within(row.at("filter"), 1, 15, "a layer's filter");
    layer.stride = within(row.at("stride"), 1, 2, "a layer's stride");
    layer.fixed_bits = bits_within(row.at("fixed_bits"), "the layer " + shown_name(layer.name), true);
    require(layer.filter * layer.filter * layer.c <= max_sum_terms,
            "sums of the layer " + shown_name(layer.name) + " do not fit in 32 bits");
    for_each_bits(row, [&](int bits, const json& at) {
      layer.codes[bits] = {
          &tensor(at.at(0).get<std::string>(), bits, {layer.k, layer.filter, layer.filter, layer.c}),
          steps(at.at(1).get<int64_t>(), per_channel_ ? layer.k : 1)};
    });
    layers_.push_back(std::move(layer));
  }
  for (const json& row : metadata.at("activations")) {
    Activation activation;
    activation.name = row.at("name").get<std::string>();
    activation.is_signed = row.at("signed").get<bool>();
    activation.fixed_bits =
        bits_within(row.at("fixed_bits"), "the activation " + shown_name(activation.name), true);
    for_each_bits(row,
                  [&](int bits, const json& at) { activation.steps[bits] = steps(at.get<int64_t>(), 1); });
    activations_.push_back(std::move(activation));
  }
}

void Model::read_subnets(const json& metadata) {
  const json& rows = metadata.at("subnets");
  require(!rows.empty() && rows.size() <= max_subnets, "the file holds no subnets, or too many");
  for (const json& row : rows) {
    SubnetEntry entry;
    entry.subnet = {fraction(row.at("width"), "width"), fraction(row.at("depth"), "depth"),
                    within(row.at("resolution"), 8, max_resolution, "a subnet's resolution"),
                    bits_within(row.at("bits"), "a subnet", false)};
    require(entry.subnet.resolution <= preprocessing_.crop, "a subnet's resolution is larger than the crop");
    entry.cost = read_cost(row);
    for (const auto& [name, value] : row.at("scores").items()) entry.scores[name] = value.get<double>();
    for (const SubnetEntry& other : subnets_)
      require(!(other.subnet == entry.subnet), "the subnet " + id(entry.subnet) + " is there twice");
    subnets_.push_back(std::move(entry));
    const Walk w = walk_of(subnets_.size() - 1);
    const auto norms_name = row.at("norms").get<std::string>(),
               shifts_name = row.at("shifts").get<std::string>();
    const float* norms = floats(tensor(norms_name, 32, {2, w.norm_channels}));
    const float* shifts = floats(tensor(shifts_name, 32, {w.norm_channels}));
    require_finite(norms, 2 * w.norm_channels, "the tensor " + shown_name(norms_name));
    require_finite(shifts, w.norm_channels, "the tensor " + shown_name(shifts_name));
    norms_.push_back({norms, norms + w.norm_channels, shifts});
    check_subnet(subnets_.size() - 1);
  }
}

void Model::check_subnet(std::size_t i) const {
  const Walk w = walk_of(i);
  const int bits = subnets_[i].subnet.bits;
  const auto check_layer = [&](const std::string& name, int64_t k, int64_t c, int64_t filter,
                               int64_t stride) {
    const Layer& stored = layer(name);
    require(stored.k >= k && stored.c >= c && stored.filter == filter && stored.stride == stride,
            "the layer " + shown_name(name) + " does not fit the subnet " + id(subnets_[i].subnet));
    require(
        stored.codes.count(stored.used_bits(bits)) > 0,
        "the layer " + shown_name(name) + " has no " + std::to_string(stored.used_bits(bits)) + "-bit codes");
  };
  for (const ConvPlan& conv : w.convs) check_layer(conv.name, conv.k, conv.c, conv.filter, conv.stride);
  check_layer("classifier", static_cast<int64_t>(classes_.size()), w.features, 1, 1);
  for (const UsedActivation& used : activations_of(w, residual_)) {
    const Activation& stored = activation(used.name);
    require(
        stored.is_signed == used.is_signed && stored.steps.count(stored.used_bits(bits)) > 0,
        "the activation " + used.name + " has no " + std::to_string(stored.used_bits(bits)) + "-bit step");
  }
}

Model::Model(Bytes file) : file_(open_file(file)) {
  try {
    const json& metadata = file_.metadata;
    read_network(metadata);
    read_layers(metadata);
    bias_ = floats(tensor("classifier.bias", 32, {static_cast<int64_t>(classes_.size())}));
    require_finite(bias_, static_cast<int64_t>(classes_.size()), "classifier.bias");
    read_subnets(metadata);
  } catch (const json::exception& error) {
    throw FormatError(std::string("the metadata cannot be read: ") + error.what());
  }
  file_.metadata = nullptr;
}

Walk Model::walk_of(std::size_t subnet) const {
  return walk(spec_, subnets_[subnet].subnet, multiple_, preprocessing_.channels, residual_);
}

std::vector<int8_t> Model::corner(const Layer& layer, int bits, int64_t k, int64_t c) const {
  const LayerCodes& stored = layer.codes.at(layer.used_bits(bits));
  std::vector<int8_t> all(static_cast<std::size_t>(stored.codes->count()));
  unpack_codes(stored.codes->data, stored.codes->bits, all);
  if (k == layer.k && c == layer.c) return all;
  const int64_t taps = layer.filter * layer.filter;
  for (int64_t row = 0; row < k * taps; ++row)  // moves towards the front: nothing is overwritten unread
    std::memmove(all.data() + row * c, all.data() + row * layer.c, static_cast<std::size_t>(c));
  all.resize(static_cast<std::size_t>(k * taps * c));
  return all;
}

std::size_t Model::index(const Subnet& subnet) const {
  std::string known;
  for (std::size_t i = 0; i < subnets_.size(); ++i) {
    if (subnets_[i].subnet == subnet) return i;
    known += (known.empty() ? "" : ", ") + id(subnets_[i].subnet);
  }
  throw std::invalid_argument("[packed] the file does not hold " + id(subnet) + "; it has " + known);
}

}  // namespace rtfq::packed
