#pragma once
// How fake-quant kernels cut their elements: into blocks of a fixed size that depend on the shape alone, so
// that sums taken block by block are the same for every number of threads.

#include <algorithm>

#include "kernels/cpu/policy.h"
#include "kernels/fakequant.h"

namespace rtfq::kernels::cpu {

/// A span is what shares a step size: everything, or one row. It consists of lines (contiguous elements), a
/// line of pieces of at most `piece` elements, and a block is one piece of a long line or several short
/// lines.
class FakeQuantPartition {
 public:
  static constexpr int64_t piece = 8192;

  RTFQ_INLINE explicit FakeQuantPartition(const FakeQuantShape& s)
      : row_stride_(s.row_stride), group_stride_(s.group_stride), groups_(s.groups), cols_(s.cols) {
    int64_t rows = s.rows;
    if (groups_ == 1 || group_stride_ == cols_) {
      cols_ *= groups_;
      groups_ = 1;
    }
    if (!s.per_row && groups_ == 1 && (rows == 1 || row_stride_ == cols_)) {
      cols_ *= rows;
      rows = 1;
    }
    spans_ = s.per_row ? rows : 1;
    lines_ = rows * groups_ / spans_;
    pieces_per_line_ = (cols_ + piece - 1) / piece;
    lines_per_block_ = std::max<int64_t>(1, piece / cols_);
    blocks_per_span_ =
        pieces_per_line_ > 1 ? lines_ * pieces_per_line_ : (lines_ + lines_per_block_ - 1) / lines_per_block_;
  }

  RTFQ_INLINE int64_t spans() const { return spans_; }
  RTFQ_INLINE int64_t blocks() const { return spans_ * blocks_per_span_; }
  RTFQ_INLINE int64_t blocks_per_span() const { return blocks_per_span_; }
  RTFQ_INLINE int64_t span_of(int64_t block) const { return block / blocks_per_span_; }
  /// Everything is one contiguous run.
  RTFQ_INLINE bool dense() const { return spans_ * lines_ == 1; }

  /// Calls f(offset in x, offset in the dense result, count) for each contiguous run of the block.
  template <class F>
  RTFQ_INLINE void for_each_run(int64_t block, F&& f) const {
    const int64_t span = block / blocks_per_span_, local = block % blocks_per_span_;
    if (pieces_per_line_ > 1) {
      const int64_t line = span * lines_ + local / pieces_per_line_, at = local % pieces_per_line_ * piece;
      f(start(line) + at, line * cols_ + at, std::min(piece, cols_ - at));
      return;
    }
    const int64_t first = span * lines_ + local * lines_per_block_;
    const int64_t last = std::min(first + lines_per_block_, (span + 1) * lines_);
    int64_t row = first / groups_, group = first % groups_;
    for (int64_t line = first; line < last; ++line) {
      f(row * row_stride_ + group * group_stride_, line * cols_, cols_);
      if (++group == groups_) {
        group = 0;
        ++row;
      }
    }
  }

 private:
  RTFQ_INLINE int64_t start(int64_t line) const {
    return line / groups_ * row_stride_ + line % groups_ * group_stride_;
  }

  int64_t row_stride_, group_stride_, groups_, cols_;
  int64_t spans_ = 1, lines_ = 1, pieces_per_line_ = 1, lines_per_block_ = 1, blocks_per_span_ = 1;
};

}  // namespace rtfq::kernels::cpu
