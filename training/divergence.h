#pragma once
// What to say when training has diverged: where numbers first stopped being finite.

#include <span>
#include <string>

#include "models/supernet.h"

namespace rtfq {

/// Runs the pass once more without changing anything and names the first layer whose result is not finite,
/// and whether its weights are: one sentence, empty where all are finite (the losses alone are not).
std::string first_not_finite(Supernet&, const Subnet&, const Tensor& images, std::span<const BatchPart>);

}  // namespace rtfq
