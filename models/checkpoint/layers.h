#pragma once
// The layers of a ResNet under torchvision's names, which are timm's too.

#include <string>
#include <vector>

#include "models/resnet.h"

namespace rtfq::checkpoint {

/// A convolution and the batch norm behind it.
struct LayerName {
  std::string ours;  ///< "stem", "stage1.block0.conv1", "stage2.block0.projection"
  std::string conv,
      norm;  ///< torchvision's: "conv1" and "bn1", "layer2.0.downsample.0" and "layer2.0.downsample.1"
  int64_t k, c, filter;  ///< of the full network
};

/// In the order of Supernet::norms().
std::vector<LayerName> layer_names(const ResNetSpec&, int64_t image_channels);

/// torchvision's classifier; ours is called "classifier".
inline constexpr const char* classifier_name = "fc";

}  // namespace rtfq::checkpoint
