#include "models/packed/pack.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <unordered_map>

namespace rtfq::packed {
namespace {

const char* to_string(Residual residual) {
  switch (residual) {
    case Residual::keep_float:
      return "float";
    case Residual::eight_bits:
      return "8bit";
    case Residual::codes:
      return "codes";
  }
  throw std::logic_error("[packed] unknown residual");
}

class Packer {
 public:
  Packer(const Supernet& network, Domain domain, std::span<const SubnetEntry> subnets, const PackInfo& info)
      : network_(network), options_(network.options()), domain_(domain), subnets_(subnets), info_(info) {
    if (subnets.empty()) throw std::invalid_argument("[packed] no subnet to pack");
    for (const Parameter* p : network.parameters()) tensors_[p->name] = p->value;
    for (const auto& [name, tensor] : network.buffers()) tensors_[name] = tensor;
    for (const Quantizer* q : network.quantizers()) quantizers_[q->name()] = q;
  }

  std::vector<unsigned char> file() {
    Json metadata{{"format", "rtfq-model"}, {"made_by", info_.made_by}};
    metadata["network"] = {{"arch", options_.arch},
                           {"channel_multiple", options_.bank.multiple},
                           {"residual", to_string(options_.residual)},
                           {"per_channel_weights", options_.per_channel_weights}};
    metadata["classes"] = info_.classes;
    const Preprocessing& p = info_.preprocessing;
    metadata["preprocessing"] = {{"channels", p.channels},   {"resize", p.resize}, {"squash", p.squash},
                                 {"bicubic", p.bicubic},     {"crop", p.crop},     {"mean", p.mean},
                                 {"deviation", p.deviation}, {"exif", p.exif}};
    metadata["criteria"] = Json::array();
    for (const Criterion& c : info_.criteria)
      metadata["criteria"].push_back({{"name", c.name}, {"words", c.words}});
    metadata["layers"] = layers();
    metadata["activations"] = activations();
    metadata["subnets"] = Json::array();
    for (const SubnetEntry& entry : subnets_) metadata["subnets"].push_back(subnet(entry));
    writer_.add("classifier.bias", floats(tensors_.at("classifier.bias")), {options_.classes});
    writer_.add("steps", steps_, {static_cast<int64_t>(steps_.size())});
    return writer_.finish(std::move(metadata));
  }

 private:
  static std::span<const float> floats(const rtfq::Tensor& t) {
    return {t.as<float>(), static_cast<std::size_t>(t.count())};
  }
  Walk walk_of(const Subnet& subnet) const {
    return walk(network_.spec(), subnet, options_.bank.multiple, options_.image_channels, options_.residual);
  }

  /// Bits of a quantizer that are the same in every subnet, or 0.
  int fixed_bits(const Quantizer& q, bool at_end, bool identity) const {
    if (q.options().own_bits) return q.options().own_bits;
    return identity ? 8 : at_end ? options_.first_last_bits : 0;
  }
  /// Where the step sizes of a quantizer at `bits` (its own, not the subnet's) begin.
  std::size_t add_steps(const Quantizer& q, int bits, int64_t count) {
    for (const auto& [of, step] : q.steps())
      if (of == bits) {
        const auto values = floats(step->value).first(static_cast<std::size_t>(count));
        if (std::any_of(values.begin(), values.end(), [](float s) { return !(s > 0); }))
          throw std::runtime_error("[packed] " + q.name() + " has no " + std::to_string(bits) +
                                   "-bit step size yet: no training step has used it");
        steps_.insert(steps_.end(), values.begin(), values.end());
        return steps_.size() - values.size();
      }
    throw std::runtime_error("[packed] " + q.name() + " has no " + std::to_string(bits) + "-bit step size");
  }

  /// A layer at the largest size that a subnet uses, and the bits that it is asked for.
  struct Wanted {
    ConvPlan conv;
    std::vector<int> bits;
  };
  static void want(std::vector<Wanted>& all, const ConvPlan& conv, int bits) {
    auto found =
        std::find_if(all.begin(), all.end(), [&](const Wanted& w) { return w.conv.name == conv.name; });
    if (found == all.end()) found = all.insert(all.end(), {conv, {}});
    found->conv.k = std::max(found->conv.k, conv.k);
    found->conv.c = std::max(found->conv.c, conv.c);
    if (std::find(found->bits.begin(), found->bits.end(), bits) == found->bits.end())
      found->bits.push_back(bits);
  }

  Json layers() {
    std::vector<Wanted> wanted;
    for (const SubnetEntry& entry : subnets_) {
      const Subnet& s = entry.subnet;
      if (s.bits == float_bits)
        throw std::invalid_argument("[packed] " + id(s) + " is not quantized: there are no codes to pack");
      const Walk w = walk_of(s);
      const auto used = [&](const std::string& name, bool at_end) {
        const int fixed = fixed_bits(*quantizers_.at(name), at_end, false);
        return fixed ? fixed : s.bits;
      };
      for (const ConvPlan& conv : w.convs) want(wanted, conv, used(conv.name, conv.name == "stem"));
      want(wanted, {"classifier", w.features, options_.classes, 1, 1, 1, 1}, used("classifier", true));
    }
    Json rows = Json::array();
    for (const Wanted& w : wanted) rows.push_back(layer(w));
    return rows;
  }

  Json layer(const Wanted& wanted) {
    const ConvPlan& conv = wanted.conv;
    const Quantizer& q = *quantizers_.at(conv.name);
    const bool at_end = conv.name == "stem" || conv.name == "classifier";
    Json row{{"name", conv.name},     {"k", conv.k},           {"c", conv.c},
             {"filter", conv.filter}, {"stride", conv.stride}, {"fixed_bits", fixed_bits(q, at_end, false)}};
    rtfq::Tensor weight = tensors_.at(conv.name + ".weight");
    if (weight.rank() == 2) weight = weight.reshaped({weight.dim(0), 1, 1, weight.dim(1)});
    weight = weight.leading(0, conv.k).leading(3, conv.c);
    for (const int bits : wanted.bits) {
      const int64_t count = options_.per_channel_weights ? conv.k : 1;
      const std::size_t first = add_steps(q, bits, count);
      const auto codes =
          QTensor::quantize(weight, rtfq::Tensor::from(std::span(steps_).subspan(first), {count}), bits, true,
                            options_.symmetric_weights)
              .codes;
      const std::string name = conv.name + ".b" + std::to_string(bits);
      writer_.add_codes(name, {codes.as<int8_t>(), static_cast<std::size_t>(codes.count())}, bits,
                        {conv.k, conv.filter, conv.filter, conv.c});
      row["b" + std::to_string(bits)] = {name, first};
    }
    return row;
  }

  Json activations() {
    Json rows = Json::array();
    std::unordered_map<std::string, std::size_t> known;
    for (const SubnetEntry& entry : subnets_)
      for (const UsedActivation& used : activations_of(walk_of(entry.subnet), options_.residual)) {
        const Quantizer& q = *quantizers_.at(used.name);
        const int fixed = fixed_bits(q, used.at_end, used.identity), bits = fixed ? fixed : entry.subnet.bits;
        const auto [found, inserted] = known.emplace(used.name, rows.size());
        if (inserted)
          rows.push_back({{"name", used.name}, {"signed", used.is_signed}, {"fixed_bits", fixed}});
        Json& row = rows[found->second];
        const std::string key = "b" + std::to_string(bits);
        if (!row.contains(key)) row[key] = add_steps(q, bits, 1);
      }
    return rows;
  }

  Json subnet(const SubnetEntry& entry) {
    const Subnet& s = entry.subnet;
    const Walk w = walk_of(s);
    const SubnetPlace at = place(options_.bank, s);
    char architecture[64];
    std::snprintf(architecture, sizeof architecture, ".w%g.d%g", s.width, s.depth);
    const std::string set =
        (options_.domain_norms ? std::string(".") + rtfq::to_string(domain_) : "") + architecture;
    std::vector<float> mean, factor, shift;
    for (const ConvPlan& conv : w.convs) {
      const std::string prefix = conv.name + ".norm" + set;
      if (tensors_.at(prefix + ".count").as<float>()[at.slot] == 0)
        throw std::runtime_error("[packed] " + id(s) +
                                 " has no norm statistics yet: let training end, or run `rtfq calibrate`");
      const float* means = tensors_.at(prefix + ".mean").as<float>() + at.slot * conv.k;
      const float* variances = tensors_.at(prefix + ".variance").as<float>() + at.slot * conv.k;
      const std::string slot = ".slot" + std::to_string(at.slot);
      const bool own = tensors_.count(prefix + slot + ".scale") > 0;
      const float* scales = tensors_.at(prefix + (own ? slot : "") + ".scale").as<float>();
      const float* shifts = tensors_.at(prefix + (own ? slot : "") + ".shift").as<float>();
      for (int64_t k = 0; k < conv.k; ++k) {
        mean.push_back(means[k]);
        // The very expression that the kernels compute in evaluation (kernels/cpu/batchnorm_layout.h).
        const float inverse = 1.0f / std::sqrt(variances[k] + norm_epsilon);
        factor.push_back(inverse * scales[k]);
        shift.push_back(shifts[k]);
      }
    }
    std::vector<float> norms = mean;
    norms.insert(norms.end(), factor.begin(), factor.end());
    const std::string name = id(s);
    Json row{{"id", name},
             {"width", s.width},
             {"depth", s.depth},
             {"resolution", s.resolution},
             {"bits", s.bits},
             {"params", entry.cost.params},
             {"bytes", entry.cost.bytes},
             {"macs", entry.cost.macs},
             {"bitops", entry.cost.bitops},
             {"memory", entry.cost.memory}};
    row["scores"] = Json::object();
    for (const auto& [criterion, score] : entry.scores) row["scores"][criterion] = score;
    row["norms"] = writer_.add_shared("norms." + name, norms, {2, w.norm_channels});
    row["shifts"] = writer_.add_shared("shifts." + name, shift, {w.norm_channels});
    return row;
  }

  const Supernet& network_;
  const SupernetOptions& options_;
  Domain domain_;
  std::span<const SubnetEntry> subnets_;
  const PackInfo& info_;
  std::unordered_map<std::string, rtfq::Tensor> tensors_;
  std::unordered_map<std::string, const Quantizer*> quantizers_;
  std::vector<float> steps_;
  FileWriter writer_;
};

}  // namespace

std::vector<unsigned char> pack(const Supernet& network, Domain domain, std::span<const SubnetEntry> subnets,
                                const PackInfo& info) {
  return Packer(network, domain, subnets, info).file();
}

}  // namespace rtfq::packed
