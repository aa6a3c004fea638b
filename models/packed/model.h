#pragma once
// A packed model: what a file (models/packed/file.h) says of a network and its subnets, checked. Steps,
// norms and weights are views of the file's bytes.

#include <map>
#include <string>
#include <vector>

#include "models/packed/file.h"
#include "models/packed/walk.h"

namespace rtfq::packed {

/// From a decoded image to a normalized one, as evaluation does it (data/transform.h): resize, centre crop of
/// `crop` pixels, normalization; a subnet of a lower resolution resizes the normalized crop.
struct Preprocessing {
  int channels = 3;  ///< 3: RGB, 1: grey
  std::vector<float> mean, deviation;
  int resize = 0;
  bool squash = false, bicubic = false, exif = false;
  int crop = 224;
  bool operator==(const Preprocessing&) const = default;
};

/// How a score is known.
struct Criterion {
  std::string name;   ///< "infomax", "source-val", "target-labels"
  std::string words;  ///< "accuracy on the target's labels, percent"
  bool operator==(const Criterion&) const = default;
};

struct SubnetEntry {
  Subnet subnet;
  SubnetCost cost;
  std::map<std::string, double> scores;  ///< by criterion; what is not known is absent
};

/// A layer's codes and step sizes at one bit-width.
struct LayerCodes {
  const Tensor* codes = nullptr;  ///< [k, filter, filter, c]; leading corners of it are narrower layers
  const float* steps = nullptr;   ///< 1, or k
};

/// A convolution, or the classifier (filter 1).
struct Layer {
  std::string name;
  int64_t k = 0, c = 0, filter = 1, stride = 1;
  int fixed_bits = 0;  ///< used whatever the subnet's are; 0: the subnet's
  std::map<int, LayerCodes> codes;
  int used_bits(int subnet_bits) const { return fixed_bits ? fixed_bits : subnet_bits; }
};

struct Activation {
  std::string name;
  bool is_signed = false;
  int fixed_bits = 0;
  std::map<int, const float*> steps;
  int used_bits(int subnet_bits) const { return fixed_bits ? fixed_bits : subnet_bits; }
};

/// z = fma(y - mean, factor, shift), of all convolutions one after the other.
struct Norms {
  const float *mean, *factor, *shift;
};

class Model {
 public:
  /// Checks all that running any subnet relies on. Throws FormatError. `file` must outlive the model and lie
  /// at an address that is a multiple of 4.
  explicit Model(Bytes file);
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  uint32_t version() const { return file_.version; }
  const std::string& made_by() const { return made_by_; }
  const ResNetSpec& spec() const { return spec_; }
  Residual residual() const { return residual_; }
  bool per_channel_weights() const { return per_channel_; }
  const std::vector<std::string>& classes() const { return classes_; }
  const Preprocessing& preprocessing() const { return preprocessing_; }
  const std::vector<Criterion>& criteria() const { return criteria_; }
  const std::vector<SubnetEntry>& subnets() const { return subnets_; }

  Walk walk_of(std::size_t subnet) const;
  Norms norms_of(std::size_t subnet) const { return norms_[subnet]; }
  const Layer& layer(const std::string& name) const;
  const Activation& activation(const std::string& name) const;
  const float* classifier_bias() const { return bias_; }  ///< [classes]
  /// The leading [k, filter, filter, c] corner of a layer's codes at a subnet's bits, dense.
  std::vector<int8_t> corner(const Layer&, int bits, int64_t k, int64_t c) const;
  /// Position of a subnet; throws std::invalid_argument that lists what the file holds.
  std::size_t index(const Subnet&) const;

 private:
  void read_network(const nlohmann::json&);
  void read_layers(const nlohmann::json&);
  void read_subnets(const nlohmann::json&);
  void check_subnet(std::size_t) const;
  const Tensor& tensor(const std::string& name, int bits, const std::vector<int64_t>& shape) const;
  const float* steps(int64_t first, int64_t count) const;

  FileView file_;
  std::string made_by_;
  ResNetSpec spec_;
  int multiple_ = 1;
  Residual residual_ = Residual::eight_bits;
  bool per_channel_ = false;
  std::vector<std::string> classes_;
  Preprocessing preprocessing_;
  std::vector<Criterion> criteria_;
  std::vector<SubnetEntry> subnets_;
  std::vector<Norms> norms_;
  std::vector<Layer> layers_;
  std::vector<Activation> activations_;
  const float* bias_ = nullptr;
};

}  // namespace rtfq::packed
