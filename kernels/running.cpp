#include "kernels/running.h"

namespace rtfq::kernels {

Cost cost(const RunningStatistics&, const RunningShape& s) {
  const auto c = static_cast<double>(s.c);
  return {24 * c, 10 * c};
}
Cost cost(const Accumulate&, const AccumulateShape& s) {
  const auto total = static_cast<double>(s.total);
  return {12 * total, total};
}

}  // namespace rtfq::kernels
