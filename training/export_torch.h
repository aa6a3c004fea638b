#pragma once
// One subnet for other programs.

#include <string>

#include "training/trainer.h"

namespace rtfq {

/// Writes a subnet into `folder`, which is made: model.safetensors (f32, torchvision's names; step sizes as
/// "steps.NAME"), network.json (its description) and network.py (which builds it in PyTorch, fake-quantized
/// as it was trained). Norms are those of `domain`. Throws std::runtime_error where the subnet has no norm
/// statistics or a quantizer no step size yet, or the folder cannot be written.
void export_torch(TrainedBank&, const Subnet&, Domain domain, const std::string& folder);

/// The text of network.py (training/export/network.py, built in).
const char* torch_network_module();

}  // namespace rtfq
