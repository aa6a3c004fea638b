#pragma once
#include "training/config.h"

namespace rtfq {

/// The learning rate of step `step` (0-based) of `steps`: cosine to zero, one cycle (linear rise over
/// `one_cycle_warmup` from 1/25 of the peak, then cosine to zero), or constant.
double learning_rate(const OptimizerConfig&, int64_t step, int64_t steps);

}  // namespace rtfq
