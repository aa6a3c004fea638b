#pragma once
// What the forms of a supernet's forward pass share.

#include "models/supernet.h"

namespace rtfq {

struct Supernet::Pass {
  Tape& tape;
  Subnet subnet;
  SubnetPlace at;
  std::span<const BatchPart> parts;
  NormMode mode;
  int ends_bits;  ///< of image, first convolution, features and classifier
  int multiple;   ///< of channels

  bool quantized() const { return subnet.bits != float_bits; }
  int64_t scaled(int64_t channels) const { return scaled_channels(channels, subnet.width, multiple); }
};

}  // namespace rtfq
