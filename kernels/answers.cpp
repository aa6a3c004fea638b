#include "kernels/answers.h"

namespace rtfq::kernels {
namespace {

/// Logits read once.
Cost reading(const LogitsShape& s) {
  const auto count = static_cast<double>(s.n * s.k);
  return {4 * count, count};
}

}  // namespace

Cost cost(const PseudoLabels&, const LogitsShape& s) {
  return reading(s);
}
Cost cost(const CountRight&, const LogitsShape& s) {
  return reading(s);
}
Cost cost(const ClassSums&, const LogitsShape& s) {
  return reading(s);
}
Cost cost(const MeanOf&, const VectorShape& s) {  // of two
  const auto count = static_cast<double>(s.count);
  return {12 * count, 4 * count};
}
Cost cost(const Blend&, const VectorShape& s) {
  const auto count = static_cast<double>(s.count);
  return {12 * count, 4 * count};
}

}  // namespace rtfq::kernels
