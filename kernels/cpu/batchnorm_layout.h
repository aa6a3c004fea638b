#pragma once
// How batch normalization kernels cut [n*hw, c] into blocks of rows, within each segment and of a size that
// depends on c alone.

#include <algorithm>

#include "kernels/batchnorm.h"
#include "kernels/cpu/policy.h"

namespace rtfq::kernels::cpu {

/// Blocks of `rows_per_block` rows, cut within each segment.
class RowBlocks {
 public:
  struct Block {
    int segment;
    int64_t row, rows;  ///< first row in the tensor, number of rows
  };

  RTFQ_INLINE RowBlocks(const BatchNormShape& s, int64_t rows_per_block)
      : shape_(s), per_block_(rows_per_block) {
    for (int i = 0; i < s.segments; ++i)
      first_[i + 1] = first_[i] + (count(s, i) + per_block_ - 1) / per_block_;
  }
  RTFQ_INLINE int64_t total() const { return first_[shape_.segments]; }
  /// Index of a segment's first block.
  RTFQ_INLINE int64_t first(int segment) const { return first_[segment]; }
  RTFQ_INLINE Block operator[](int64_t index) const {
    int segment = 0;
    while (index >= first_[segment + 1]) ++segment;
    const int64_t begin = (segment ? shape_.segment_end[segment - 1] : 0) * shape_.hw;
    const int64_t at = (index - first_[segment]) * per_block_;
    return {segment, begin + at, std::min(per_block_, count(shape_, segment) - at)};
  }

 private:
  const BatchNormShape& shape_;
  int64_t per_block_;
  int64_t first_[RTFQ_MAX_SEGMENTS + 1] = {};
};

/// The factor of a normalized value, in f32 so that every backend has the same bits: square root and division
/// are correctly rounded.
RTFQ_INLINE float inverse_deviation(float variance, float epsilon) {
  return 1.0f / __builtin_sqrtf(variance + epsilon);
}

RTFQ_INLINE double elements(const BatchNormShape& s) {
  return static_cast<double>(s.n) * s.hw * s.c;
}

}  // namespace rtfq::kernels::cpu
