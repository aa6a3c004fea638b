#pragma once
// A pretrained ResNet: read from a file of PyTorch's world, written as a bank's start, put into a supernet.

#include <memory>
#include <string>
#include <vector>

#include "models/supernet.h"

namespace rtfq::checkpoint {

/// A convolution and its norm, with torchvision's layout of the weights.
struct PretrainedLayer {
  std::string name;  ///< ours: "stage1.block0.conv1"
  int64_t k, c, filter;
  std::vector<float> weight;                        ///< [k, c, filter, filter]
  std::vector<float> scale, shift, mean, variance;  ///< [k]
};

/// Where weights come from, for the record.
struct Origin {
  std::string file;
  std::string sha256;  ///< of the file
  std::string format;  ///< "torch zip", "torch legacy" or "safetensors"
  std::string first;   ///< of a bank made by `rtfq import`: the SHA-256 of the file that it was made from
};

struct Pretrained {
  ResNetSpec spec;
  int64_t image_channels = 3;
  int64_t classes = 0;                  ///< 0: no classifier
  std::vector<PretrainedLayer> layers;  ///< as Supernet::norms()
  std::vector<float> classifier, bias;  ///< [classes, features], [classes]
  Origin origin;
  bool sorted = false;  ///< channels are in order of importance
  std::vector<std::string> dropped,
      notes;  ///< names in the file that were left; what else people should know
};

struct ReadOptions {
  std::string arch;     ///< what it must be; empty: whatever it is
  std::string weights;  ///< which dictionary of the file; empty: state_dict()'s choice
};

/// Reads a .pth or .safetensors file of torchvision or timm, or what save_pretrained wrote. Throws
/// std::runtime_error naming the file and what is wrong with it, std::invalid_argument when it is another
/// architecture than options.arch.
Pretrained read_pretrained(const std::string& path, const ReadOptions& options = {});

/// Safetensors in f32 under torchvision's names, with the origin in the metadata: read_pretrained and PyTorch
/// read it. Atomically.
void save_pretrained(const std::string& path, const Pretrained&);

/// What was read, in lines for people: architecture, origin, what was dropped, notes.
std::string description(const Pretrained&);

/// What became of a supernet's tensors.
struct StartReport {
  Origin origin;
  std::string arch;
  bool sorted = false;
  int64_t taken = 0;  ///< weights, scales, shifts, biases, means and variances: numbers
  std::vector<std::string> dropped, initialised, notes;
};

/// Puts convolutions, scales and shifts (leading channels, for every set of norms) and the running statistics
/// of the full network (`every_architecture`: of the narrower ones too) into a supernet of the same
/// architecture. The classifier is taken where the classes are as many. A grey network takes the sum of the
/// first convolution's colours. Throws std::invalid_argument when architecture or image channels do not fit.
StartReport start_from(Supernet&, const Pretrained&, bool every_architecture = false);

/// A network that computes what the file's does: the classifier included, nothing quantized, one set of
/// norms. Its bank holds the full network and `subnet`, whose norm statistics are the leading channels.
/// Throws std::invalid_argument when there is no classifier, or the width rounds to the full network's.
std::unique_ptr<Supernet> as_supernet(const Pretrained&, const Subnet& subnet, int multiple);

/// Lines for people, each ended by a line feed.
std::string report_text(const StartReport&);

/// The f32 tensor [k, filter, filter, c] of torchvision's [k, c, filter, filter].
std::vector<float> to_krsc(const std::vector<float>& oihw, int64_t k, int64_t c, int64_t filter);
/// And back.
std::vector<float> to_oihw(const std::vector<float>& krsc, int64_t k, int64_t c, int64_t filter);

}  // namespace rtfq::checkpoint
