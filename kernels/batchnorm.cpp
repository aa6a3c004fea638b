#include "kernels/batchnorm.h"

#include <cmath>
#include <stdexcept>
#include <string>

namespace rtfq::kernels {
namespace {

void require_positive(const char* what, int64_t value) {
  if (value < 1)
    throw std::invalid_argument(std::string("[batchnorm] expected a positive ") + what + ", got " +
                                std::to_string(value) + ": an empty batch has no statistics");
}

double elements(const BatchNormShape& s) {
  return static_cast<double>(s.n) * s.hw * s.c;
}

/// Bytes of one tensor.
double values(const BatchNormShape& s) {
  return (s.type == RTFQ_BF16 ? 2 : 4) * elements(s);
}

/// `arrays` per-channel f32 arrays of every segment.
double channels(const BatchNormShape& s, int arrays) {
  return 4.0 * arrays * s.segments * s.c;
}

}  // namespace

BatchNormShape make_batchnorm_shape(int64_t n, int64_t hw, int64_t c, float epsilon) {
  const int64_t ends[] = {n};
  return make_batchnorm_shape(hw, c, ends, epsilon);
}

BatchNormShape make_batchnorm_shape(int64_t hw, int64_t c, std::span<const int64_t> ends, float epsilon) {
  if (ends.empty() || ends.size() > RTFQ_MAX_SEGMENTS)
    throw std::invalid_argument("[batchnorm] expected 1 to " + std::to_string(RTFQ_MAX_SEGMENTS) +
                                " segments, got " + std::to_string(ends.size()) +
                                ": normalize the batch in several launches");
  require_positive("number of images", ends.back());
  require_positive("number of pixels", hw);
  require_positive("number of channels", c);
  if (!(epsilon > 0) || !std::isfinite(epsilon))
    throw std::invalid_argument("[batchnorm] expected a positive epsilon, got " + std::to_string(epsilon) +
                                ": a constant channel would divide by zero");
  BatchNormShape shape{};
  int64_t begin = 0;
  for (const int64_t end : ends) {
    if (end <= begin)
      throw std::invalid_argument("[batchnorm] expected ascending segment ends, got " + std::to_string(end) +
                                  " after " + std::to_string(begin) + ": leave empty segments out");
    shape.segment_end[shape.segments++] = begin = end;
  }
  shape.n = begin;
  shape.hw = hw;
  shape.c = c;
  shape.epsilon = epsilon;
  shape.type = RTFQ_F32;
  return shape;
}

int64_t count(const BatchNormShape& s, int segment) {
  if (segment < 0 || segment >= s.segments)
    throw std::out_of_range("[batchnorm] expected a segment below " + std::to_string(s.segments) + ", got " +
                            std::to_string(segment) + ": segments are counted from 0");
  return (s.segment_end[segment] - (segment ? s.segment_end[segment - 1] : 0)) * s.hw;
}

// One read of each operand and one write of the result; operations per element are those of the headers'
// formulas with the per-channel factors taken out (subtract, add, multiply-add; subtract, multiply-add; and
// so on).
Cost cost(const BatchNormStatistics&, const BatchNormShape& s) {
  return {values(s) + channels(s, 2), 4 * elements(s)};
}
Cost cost(const BatchNormNormalize&, const BatchNormShape& s) {
  return {2 * values(s) + channels(s, 4), 3 * elements(s)};
}
Cost cost(const BatchNormReduce&, const BatchNormShape& s) {
  return {2 * values(s) + channels(s, 4), 4 * elements(s)};
}
Cost cost(const BatchNormApply&, const BatchNormShape& s) {
  return {3 * values(s) + channels(s, 5), 5 * elements(s)};
}

}  // namespace rtfq::kernels
