#pragma once
// The GPU's fake-quant kernels; what they compute is stated in kernels/fakequant.h.

#include <algorithm>

#include "kernels/cuda/half.h"
#include "kernels/cuda/values.h"
#include "kernels/fakequant.h"

namespace rtfq::kernels::RTFQ_GPU {

/// Blocks hold a fixed number of elements that depends on the shape alone, so sums taken block by block are
/// the same on every device. A span is what shares a step size: everything, or one row. It consists of lines
/// (contiguous elements), a line of pieces (16 KB), and a block is one piece of a long line or several short
/// lines.
struct FakeQuantCut {
  static constexpr int threads = 256, at_once = 4;
  template <class T>
  static constexpr int piece_of = at_once* per_access<T>* threads;

  int64_t piece;
  int64_t row_stride, group_stride, cols;
  int32_t groups, spans, lines, pieces_per_line, lines_per_block, blocks_per_span;

  struct Block {
    int64_t x, dense;  ///< offsets of its first element
    int32_t span, line, count;
    bool one_line;
  };

  explicit FakeQuantCut(const FakeQuantShape& s)
      : piece(s.type == RTFQ_F32 ? piece_of<float> : piece_of<bf16>),
        row_stride(s.row_stride),
        group_stride(s.group_stride) {
    int64_t rows = s.rows, all_groups = s.groups;
    cols = s.cols;
    if (all_groups == 1 || group_stride == cols) {
      cols *= all_groups;
      all_groups = 1;
    }
    if (!s.per_row && all_groups == 1 && (rows == 1 || row_stride == cols)) {
      cols *= rows;
      rows = 1;
    }
    groups = static_cast<int32_t>(all_groups);
    spans = s.per_row ? static_cast<int32_t>(rows) : 1;
    lines = static_cast<int32_t>(rows * all_groups / spans);
    pieces_per_line = static_cast<int32_t>((cols + piece - 1) / piece);
    lines_per_block = static_cast<int32_t>(std::max<int64_t>(1, piece / cols));
    blocks_per_span =
        pieces_per_line > 1 ? lines * pieces_per_line : (lines + lines_per_block - 1) / lines_per_block;
  }
  int64_t blocks() const { return int64_t{spans} * blocks_per_span; }
  /// Every line starts where accesses to V elements may (given aligned pointers).
  bool takes(int V) const {
    const bool single = int64_t{spans} * lines == 1;
    return single || (cols % V == 0 && row_stride % V == 0 && (groups == 1 || group_stride % V == 0));
  }

  __device__ __forceinline__ int64_t start(int32_t line) const {
    return line / groups * row_stride + line % groups * group_stride;
  }
  __device__ __forceinline__ Block block(unsigned number) const {
    const auto span = static_cast<int32_t>(number / static_cast<unsigned>(blocks_per_span));
    const auto local = static_cast<int32_t>(number % static_cast<unsigned>(blocks_per_span));
    if (pieces_per_line > 1) {
      const int32_t line = span * lines + local / pieces_per_line;
      const int64_t at = local % pieces_per_line * piece;
      const int64_t left = cols - at;
      return {start(line) + at,
              line * cols + at,
              span,
              line,
              static_cast<int32_t>(left < piece ? left : piece),
              true};
    }
    const int32_t first = span * lines + local * lines_per_block, end = (span + 1) * lines;
    const int32_t n = end - first < lines_per_block ? end - first : lines_per_block;
    return {start(first), first * cols, span, first, static_cast<int32_t>(n * cols), n == 1};
  }
  /// Offset in x of the block's element i.
  __device__ __forceinline__ int64_t offset(const Block& b, int32_t i) const {
    if (b.one_line) return b.x + i;
    const auto width = static_cast<unsigned>(cols);  // short: at most `piece`
    return start(b.line + static_cast<int32_t>(static_cast<unsigned>(i) / width)) +
           static_cast<unsigned>(i) % width;
  }
};

/// Fetches and uses the block's elements, V at a time: a whole piece with all of a thread's loads in flight.
/// `at` is an element's offset in x, `dense` that in what is dense.
template <class T, int V, class Work>
__device__ __forceinline__ void each_element(const FakeQuantCut& cut, const FakeQuantCut::Block& b,
                                             Work& work) {
  constexpr int threads = FakeQuantCut::threads, at_once = FakeQuantCut::at_once;
  if (V == per_access<T> && b.one_line && b.count == FakeQuantCut::piece_of<T>) {
    typename Work::template Fetched<V> in[at_once];
    const int first = V * static_cast<int>(threadIdx.x);
#pragma unroll
    for (int u = 0; u < at_once; ++u) {
      const int i = first + u * V * threads;
      in[u] = work.template fetch<V>(b.x + i, b.dense + i);
    }
#pragma unroll
    for (int u = 0; u < at_once; ++u) {
      const int i = first + u * V * threads;
      work.template use<V>(b.x + i, b.dense + i, in[u]);
    }
    return;
  }
  for (int i = V * static_cast<int>(threadIdx.x); i < b.count; i += V * threads) {
    const int64_t at = cut.offset(b, i), dense = b.dense + i;
    if (i + V <= b.count) {
      work.template use<V>(at, dense, work.template fetch<V>(at, dense));
    } else {  // the end of a tensor whose size is no multiple of V
      for (int j = 0; i + j < b.count; ++j)
        work.template use<1>(at + j, dense + j, work.template fetch<1>(at + j, dense + j));
    }
  }
}

/// One double a block.
std::size_t fakequant_sums_bytes(const FakeQuantShape&);
const char* fakequant_unsupported(const FakeQuantShape&);

void fakequant_forward_vector(const FakeQuantShape&, const FakeQuantForwardArgs&, Stream);
void fakequant_backward_fused(const FakeQuantShape&, const FakeQuantBackwardArgs&, Stream);
void abs_sum_blocks(const FakeQuantShape&, const AbsSumArgs&, Stream);

void fakequant_forward_naive(const FakeQuantShape&, const FakeQuantForwardArgs&, Stream);
void fakequant_backward_naive(const FakeQuantShape&, const FakeQuantBackwardArgs&, Stream);
void abs_sum_naive(const FakeQuantShape&, const AbsSumArgs&, Stream);

}  // namespace rtfq::kernels::RTFQ_GPU
