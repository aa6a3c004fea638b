#pragma once
// What a subnet makes of images, code by code: by evaluation of the network it comes from, and packed. Tests
// and rtfq-agreement compare the two.

#include <map>
#include <string>
#include <vector>

#include "engine/tensor.h"
#include "models/deploy/program.h"
#include "models/supernet.h"

namespace rtfq::deploy {

struct Observed {
  std::vector<float> logits;                      ///< [images, classes]
  std::map<std::string, std::vector<int>> codes;  ///< of each activation quantizer, by its name
};

/// Evaluation with the statistics stored for `domain`; codes are what each quantizer makes of what it is
/// given. `images`: normalized, [n, r, r, channels] at the subnet's resolution.
Observed observe(Supernet&, const Subnet&, Domain domain, const Tensor& images);

/// The packed subnet. `arena`: as Program::run wants it.
Observed observe(const Program&, std::size_t classes, const Tensor& images, void* arena);

}  // namespace rtfq::deploy
