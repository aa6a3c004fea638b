#pragma once
// `--data RUN`: values of a trained network instead of drawn ones.

#include <memory>
#include <string>
#include <vector>

namespace rtfq::lab {

struct RunValues {
  std::shared_ptr<const std::vector<float>> weights;  ///< of all convolutions, one after the other
  float step = 0.0371f;  ///< the median step size of weights at the bits asked for
};

/// Read once from the run's checkpoint. Throws std::runtime_error or std::invalid_argument when there is
/// none.
const RunValues& run_values(const std::string& run, int bits);

}  // namespace rtfq::lab
