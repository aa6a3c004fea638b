#include "kernels/convstatistics.h"

#include <algorithm>
#include <stdexcept>
#include <string_view>

#include "kernels/convstatistics_one_by_one.h"

namespace rtfq::kernels {

ConvStatisticsShape make_convstatistics_shape(const Conv2dShape& conv, std::span<const int64_t> ends) {
  if (conv.y_type == RTFQ_S32)
    throw std::invalid_argument(
        "[convstatistics] expected results in f32 or bf16, got s32: norms read no sums");
  const BatchNormShape norm = make_batchnorm_shape(output_height(conv) * output_width(conv), conv.k, ends);
  if (norm.n != conv.n)
    throw std::invalid_argument("[convstatistics] expected the last segment to end at the batch size " +
                                std::to_string(conv.n) + ", got " + std::to_string(norm.n));
  ConvStatisticsShape shape{conv, norm.segments, {}};
  std::copy(std::begin(norm.segment_end), std::end(norm.segment_end), shape.segment_end);
  return shape;
}

BatchNormShape statistics_shape(const ConvStatisticsShape& s) {
  BatchNormShape shape = make_batchnorm_shape(output_height(s.conv) * output_width(s.conv), s.conv.k,
                                              std::span(s.segment_end, static_cast<std::size_t>(s.segments)));
  shape.type = s.conv.y_type;
  return shape;
}

// The convolution's, and the statistics' but for reading y.
Cost cost(const ConvStatisticsForward&, const ConvStatisticsShape& s) {
  const Cost conv = cost(Conv2dForward{}, s.conv),
             statistics = cost(BatchNormStatistics{}, statistics_shape(s));
  return {conv.bytes + 8.0 * static_cast<double>(s.segments) * static_cast<double>(s.conv.k),
          conv.operations + statistics.operations};
}

bool fuses_statistics(Backend backend, const ConvStatisticsShape& s) {
  return preference(Conv2dForward::name).empty() && preference(BatchNormStatistics::name).empty() &&
         choose<ConvStatisticsForward>(backend, s).name != std::string_view(one_by_one);
}

}  // namespace rtfq::kernels
