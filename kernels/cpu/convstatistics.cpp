// The CPU's implementations of a convolution with statistics: a cache holds what the statistics read again,
// or memory does, so that nothing is fused.
#include "kernels/convstatistics_one_by_one.h"

namespace rtfq::kernels {

std::span<const ConvStatisticsForward::Impl> ConvStatisticsForward::cpu() {
  static constexpr Impl list[] = {OneByOne<Backend::cpu>::implementation};
  return list;
}

}  // namespace rtfq::kernels
