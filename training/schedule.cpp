#include "training/schedule.h"

#include <cmath>
#include <numbers>
#include <stdexcept>

namespace rtfq {

double learning_rate(const OptimizerConfig& config, int64_t step, int64_t steps) {
  const double peak = config.learning_rate;
  const double progress = static_cast<double>(step) / static_cast<double>(steps);
  const auto cosine = [](double t) { return 0.5 * (1 + std::cos(std::numbers::pi * t)); };
  if (config.schedule == "constant") return peak;
  if (config.schedule == "cosine") return peak * cosine(progress);
  if (config.schedule == "one_cycle") {
    const double rise = config.one_cycle_warmup;
    if (progress < rise) return peak * (1.0 / 25 + (1 - 1.0 / 25) * progress / rise);
    return peak * cosine((progress - rise) / (1 - rise));
  }
  throw std::invalid_argument("[optimizer] schedule: expected cosine, one_cycle or constant, got '" +
                              config.schedule + "'");
}

}  // namespace rtfq
