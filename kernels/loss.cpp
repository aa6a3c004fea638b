#include "kernels/loss.h"

#include <stdexcept>
#include <string>

namespace rtfq::kernels {
namespace {

/// `arrays` of [n,k] f32 moved, and 4 bytes for each of `others`; an exponential or logarithm counts one
/// operation.
Cost cost_of(const LogitsShape& s, int arrays, double others, int operations) {
  const double elements = static_cast<double>(s.n) * static_cast<double>(s.k);
  return {4 * (arrays * elements + others), operations * elements};
}

}  // namespace

LogitsShape make_logits_shape(int64_t n, int64_t k) {
  if (n < 1)
    throw std::invalid_argument("[loss] expected at least one row of logits, got " + std::to_string(n) +
                                ": leave the loss of an empty batch out");
  if (k < 2)
    throw std::invalid_argument("[loss] expected at least two classes, got " + std::to_string(k) +
                                ": one class leaves nothing to tell apart");
  return {n, k};
}

// z is read once, dz is read and written.
Cost cost(const Softmax&, const LogitsShape& s) {
  return cost_of(s, 2, 0, 4);
}
Cost cost(const CrossEntropy&, const LogitsShape& s) {
  return cost_of(s, 3, 2 * static_cast<double>(s.n) + 1, 7);
}
Cost cost(const SoftCrossEntropy&, const LogitsShape& s) {
  return cost_of(s, 4, 1, 8);
}
Cost cost(const MeanPrediction&, const LogitsShape& s) {
  return cost_of(s, 1, static_cast<double>(s.k), 5);
}
Cost cost(const InformationMaximization&, const LogitsShape& s) {
  return cost_of(s, 3, static_cast<double>(s.k) + 1, 12);
}
Cost cost(const ClassConfusion&, const LogitsShape& s) {
  return cost_of(s, 3, 1, 16);
}

}  // namespace rtfq::kernels
