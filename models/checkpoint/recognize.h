#pragma once
// Which ResNet a state dict belongs to, read off its tensors.

#include "models/checkpoint/state_dict.h"
#include "models/resnet.h"

namespace rtfq::checkpoint {

struct Recognized {
  ResNetSpec spec;
  int64_t image_channels = 3;
  int64_t classes = 0;  ///< 0: without a classifier
};

/// Throws std::runtime_error for anything that is not one of resnet_names(): for its relatives (resnet50d,
/// ResNeXt, wide, SE, ...) with their name and what differs, else with the tensor that is missing, surplus or
/// of another shape, and both shapes.
Recognized recognize(const StateDict&);

}  // namespace rtfq::checkpoint
