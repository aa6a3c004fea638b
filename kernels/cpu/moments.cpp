// A few thousand channels: one plain version serves.
#include "kernels/moments.h"

namespace rtfq::kernels {
namespace {

void moments(const MomentsShape& s, const BatchMomentsArgs& a, Stream) {
  const int64_t all = s.segments * s.c;
  for (int64_t i = 0; i < all; ++i) {
    const double n = a.counts[i / s.c], mean = static_cast<double>(a.mean[i]);
    a.sums[i] = n * mean;
    a.sums[all + i] = n * (static_cast<double>(a.variance[i]) + mean * mean);
  }
}

/// A NaN stays one.
double not_negative(double x) {
  return x < 0 ? 0 : x;
}

void joint(const MomentsShape& s, const JointStatisticsArgs& a, Stream) {
  const int64_t all = s.segments * s.c;
  for (int64_t i = 0; i < all; ++i) {
    const double n = a.counts[i / s.c], mean = a.sums[i] / n;
    a.mean[i] = static_cast<float>(mean);
    a.variance[i] = static_cast<float>(not_negative(a.sums[all + i] / n - mean * mean));
  }
}

}  // namespace

std::span<const BatchMoments::Impl> BatchMoments::cpu() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, moments}};
  return list;
}
std::span<const JointStatistics::Impl> JointStatistics::cpu() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, joint}};
  return list;
}

}  // namespace rtfq::kernels
