#pragma once
// A convolution that also yields the batch statistics of the norm behind it: mean and biased variance of its
// result, per segment of the batch and output channel.
//
// y is Conv2dForward's, bit for bit where the sums are exact or the implementation is the same; the
// statistics are those of BatchNormStatistics over y as it is stored, to its precision.

#include "kernels/batchnorm.h"
#include "kernels/conv2d.h"

namespace rtfq::kernels {

/// Segments as in rtfq_batchnorm_shape: images [segment_end[i-1], segment_end[i]).
struct ConvStatisticsShape {
  Conv2dShape conv;
  int32_t segments;
  int64_t segment_end[RTFQ_MAX_SEGMENTS];  ///< ascending, the last one is conv.n
};

/// `ends`: ascending image indices, the last one conv.n. Throws std::invalid_argument ("[convstatistics]
/// ...") otherwise, as make_batchnorm_shape does, and for results in s32, which no norm reads.
ConvStatisticsShape make_convstatistics_shape(const Conv2dShape&, std::span<const int64_t> ends);
/// Of the statistics alone, over y.
BatchNormShape statistics_shape(const ConvStatisticsShape&);

struct ConvStatisticsArgs {
  const void* x;       ///< [n,h,w,c]
  const void* packed;  ///< from pack(), or the KRSC weights themselves where packed_bytes is 0
  void* y;             ///< [n,p,q,k], overwritten
  void* workspace;
  const float* scale;  ///< [k] with codes; nullptr otherwise
  float* mean;         ///< [segments][k], overwritten
  float* variance;     ///< [segments][k], biased (divided by the count), overwritten
};

RTFQ_CUDA_OPERATOR(ConvStatisticsForward, "convstatistics.forward", ConvStatisticsShape, ConvStatisticsArgs);

Cost cost(const ConvStatisticsForward&, const ConvStatisticsShape&);

/// Whether who wants both should launch this operator in place of the two: what would run reads y nowhere
/// again, and nobody prefers an implementation of either of the two.
bool fuses_statistics(Backend, const ConvStatisticsShape&);

}  // namespace rtfq::kernels
