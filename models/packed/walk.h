#pragma once
// The order in which a packed subnet computes: its convolutions, which quantizers their results meet, where
// its norms lie. Packing, reading and running follow this one walk.

#include <optional>
#include <string>
#include <vector>

#include "models/resnet.h"
#include "models/supernet.h"

namespace rtfq::packed {

/// What is read later of a sum; the rest is not made.
struct SumForms {
  bool codes = false;     ///< by convolutions, or with Residual::codes by anything
  bool identity = false;  ///< by the next block's sum or the pooled features, in the residual's form
};

struct BlockWalk {
  std::string name;                       ///< "stage1.block0"
  std::vector<std::size_t> convs;         ///< indices into Walk::convs
  std::optional<std::size_t> projection;  ///< of the block's input codes
  SumForms forms;                         ///< of the block's result
};

struct Walk {
  std::vector<ConvPlan> convs;        ///< as plan() lists them
  std::vector<int64_t> norm_offsets;  ///< of each one's channels within all norms of the subnet
  int64_t norm_channels = 0;          ///< of all convolutions together
  SumForms stem;
  std::vector<BlockWalk> blocks;
  int64_t features = 0;  ///< channels before the classifier
  bool stem_pool = false;
};

Walk walk(const ResNetSpec&, const Subnet&, int multiple, int64_t image_channels, Residual);

/// An activation quantizer that a subnet uses.
struct UsedActivation {
  std::string name;
  bool is_signed = false;
  bool at_end = false;    ///< image or pooled features: first_last_bits
  bool identity = false;  ///< 8 bits
};
std::vector<UsedActivation> activations_of(const Walk&, Residual);

}  // namespace rtfq::packed
