#pragma once
// ImageNet's validation figures of a pretrained network, as torchvision states them.

#include <string>

namespace rtfq::cli {

struct ImageNetOptions {
  std::string checkpoint;     ///< .pth, .safetensors
  std::string images;         ///< synset folders, or a list file
  std::string recipe = "v1";  ///< v1: shorter side to 256, v2: to 232; then the centre 224 x 224
  int threads = 0;            ///< 0: all processors
};

/// Prints top-1 and top-5 accuracy; the exit status.
int evaluate_imagenet(const ImageNetOptions&);

}  // namespace rtfq::cli
