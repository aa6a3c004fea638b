#include "kernels/moments.h"

namespace rtfq::kernels {

Cost cost(const BatchMoments&, const MomentsShape& s) {
  const auto n = static_cast<double>(s.segments * s.c);
  return {24 * n, 4 * n};
}
Cost cost(const JointStatistics&, const MomentsShape& s) {
  const auto n = static_cast<double>(s.segments * s.c);
  return {24 * n, 5 * n};
}

}  // namespace rtfq::kernels
