#pragma once
// Post-training quantization: a bank trained at full precision gets bit-widths without another step of
// training. The paper's question is what quantization-aware training adds to this.

#include <string>
#include <vector>

#include "training/calibration.h"
#include "training/trainer.h"

namespace rtfq {

/// The configuration of a quantized copy: `trained` with `settings` over bits 8, 6, 4 and steps of least
/// squared error. Throws std::invalid_argument when `trained` is not a bank at full precision or `settings`
/// ask for anything but bank.bits, keys of model.* that concern quantizers, data.*, train.calibration_images,
/// threads.
Config quantized_config(const Config& trained, const std::vector<std::string>& settings);

/// The quantized copy of a bank: its weights, scales and shifts; step sizes of every bit-width from the
/// weights and from one batch of unlabelled images (the target's; of a run without target, the source's) that
/// passes the largest architecture, layer by layer as quantized before; then norm statistics as training
/// computes them.
TrainedBank quantize(const TrainedBank& trained, const Config& config, const Progress& progress = {});

}  // namespace rtfq
