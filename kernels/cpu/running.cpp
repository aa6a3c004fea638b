// A few thousand channels: one plain version serves.
#include "kernels/running.h"

namespace rtfq::kernels {
namespace {

void running(const RunningShape& s, const RunningStatisticsArgs& a, Stream) {
  for (int64_t i = 0; i < s.c; ++i) {
    const double shift = static_cast<double>(a.batch_mean[i]) - static_cast<double>(a.mean[i]);
    a.variance[i] = static_cast<float>((1 - a.weight) * static_cast<double>(a.variance[i]) +
                                       a.weight * a.unbiased * static_cast<double>(a.batch_variance[i]) +
                                       a.between * shift * shift);
    a.mean[i] = static_cast<float>(static_cast<double>(a.mean[i]) + a.weight * shift);
  }
}

void accumulate(const AccumulateShape&, const AccumulateArgs& a, Stream) {
  for (const AccumulateTensor& t : a.tensors)
    for (int64_t i = 0; i < t.count; ++i) t.into[i] += t.values[i];
}

}  // namespace

std::span<const RunningStatistics::Impl> RunningStatistics::cpu() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, running}};
  return list;
}
std::span<const Accumulate::Impl> Accumulate::cpu() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, accumulate}};
  return list;
}

}  // namespace rtfq::kernels
