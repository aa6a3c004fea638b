#pragma once
// The plain implementation of convstatistics.forward on any backend: the convolution, then the statistics
// over its result, each by the implementation that its own list chooses. The bits are those of the two.

#include <algorithm>

#include "kernels/convstatistics.h"

namespace rtfq::kernels {

inline constexpr char one_by_one[] = "one_by_one";

template <Backend backend>
struct OneByOne {
  static const Conv2dForward::Impl& convolution(const ConvStatisticsShape& s) {
    return choose<Conv2dForward>(backend, s.conv);
  }
  static std::size_t workspace(const ConvStatisticsShape& s) {
    const BatchNormShape norm = statistics_shape(s);
    return std::max(convolution(s).workspace(s.conv),
                    choose<BatchNormStatistics>(backend, norm).workspace(norm));
  }
  static std::size_t packed(const ConvStatisticsShape& s) { return convolution(s).packed(s.conv); }
  static void pack(const ConvStatisticsShape& s, const void* weights, void* packed, Stream stream) {
    convolution(s).pack(s.conv, weights, packed, stream);
  }
  static void launch(const ConvStatisticsShape& s, const ConvStatisticsArgs& a, Stream stream) {
    convolution(s).launch(s.conv, {a.x, a.packed, a.y, a.workspace, a.scale}, stream);
    const BatchNormShape norm = statistics_shape(s);
    choose<BatchNormStatistics>(backend, norm).launch(norm, {a.y, a.mean, a.variance, a.workspace}, stream);
  }
  static constexpr ConvStatisticsForward::Impl implementation{
      one_by_one, supports_all<ConvStatisticsShape>, launch, workspace, packed, pack};
};

}  // namespace rtfq::kernels
