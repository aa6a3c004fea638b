#pragma once
// What training ends with: norm statistics of every subnet, for both domains.

#include "training/evaluation.h"
#include "training/network.h"

namespace rtfq {

/// Statistics of all trained subnets from train.calibration_images of source and target. With 0 the running
/// averages of training stay, and only subnets that no step has drawn are calibrated.
void calibrate_bank(Supernet&, const Config&, const TrainingData&, const Progress& progress = {});

}  // namespace rtfq
