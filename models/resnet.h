#pragma once
// What a ResNet is made of, before it is made elastic: stages, blocks, channel counts.

#include <string>
#include <vector>

#include "models/bank.h"

namespace rtfq {

/// He et al. 2016, with the stride on the 3x3 convolution of a bottleneck (torchvision's variant); the small
/// network has a stride-2 5x5 stem without pooling and basic blocks of 32, 64, 128 channels, for images of
/// about 32 pixels.
struct ResNetSpec {
  std::string name;
  int64_t stem_channels, stem_filter;  ///< stem stride is 2
  bool stem_pool;                      ///< 3x3/2 max pooling after the stem
  bool bottleneck;
  std::vector<int64_t> blocks;    ///< per stage
  std::vector<int64_t> channels;  ///< of the 3x3 convolutions, per stage

  int64_t expansion() const { return bottleneck ? 4 : 1; }
  int64_t stage_output(std::size_t stage) const { return channels[stage] * expansion(); }
  int64_t stride(std::size_t stage, int64_t block) const { return stage > 0 && block == 0 ? 2 : 1; }
  /// The block's shortcut is a 1x1 convolution, because size or channels change.
  bool projects(std::size_t stage, int64_t block) const {
    return block == 0 && (stage > 0 || stem_channels != stage_output(0));
  }
};

/// resnet18, resnet34, resnet50, resnet101, resnet152 or resnet14_small; "resnet50_w8" is resnet50 with 8,
/// 16, 32, 64 channels in its stages instead of 64, 128, 256, 512. Throws std::invalid_argument naming them.
ResNetSpec resnet_spec(const std::string& arch);
std::vector<std::string> resnet_names();

/// One convolution as a subnet runs it.
struct ConvPlan {
  std::string name;
  int64_t c, k, filter, stride;
  int64_t h, w;  ///< input size
  int64_t macs() const;
};

/// All convolutions of a subnet at its resolution, in order; the classifier is not among them.
std::vector<ConvPlan> plan(const ResNetSpec&, const Subnet&, int multiple, int64_t image_channels);

/// Refuses a bank in which two subnets would be the same network, because their widths round to the same
/// channels or their depths to the same blocks. Throws std::invalid_argument naming both and the channels.
void require_distinct(const ResNetSpec&, const Bank&);

}  // namespace rtfq
