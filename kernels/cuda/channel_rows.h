#pragma once
// How kernels with factors or sums per channel walk [rows, c]. A thread keeps V neighbouring channels and
// goes down the rows, several loads in flight; a block of 256 threads is `across` groups of channels wide and
// `down` rows high, so that it reads whole stretches of memory; a chunk of rows times a tile of channels is a
// block's work. Chunks do not cross segments, and where they are cut depends on the shape (and V) alone, so
// that sums are the same on every GPU.

#include <algorithm>

#include "kernels/batchnorm.h"
#include "kernels/cuda/values.h"

namespace rtfq::kernels::RTFQ_GPU {

struct ChannelRows {
  static constexpr int threads = 256;
  static constexpr int most_across = 32;  ///< 512 bytes a row with 16-byte accesses
  static constexpr int least_down = threads / most_across;
  static constexpr int64_t most_rows_of_thread = 256;  ///< what one sum in f32 may hold

  int32_t c, across, down, tiles, segments;
  int64_t rows_per_chunk;
  int32_t first_chunk[RTFQ_MAX_SEGMENTS + 1];
  int64_t first_row[RTFQ_MAX_SEGMENTS + 1];

  /// About `blocks` blocks, whose threads take a multiple of `at_once` rows.
  ChannelRows(const BatchNormShape& s, int V, int at_once, int64_t blocks)
      : c(static_cast<int32_t>(s.c)), segments(s.segments) {
    const int64_t groups = s.c / V;
    tiles = static_cast<int32_t>((groups + most_across - 1) / most_across);
    across = static_cast<int32_t>((groups + tiles - 1) / tiles);
    down = threads / across;
    const int64_t batch = int64_t{at_once} * down;
    const int64_t wanted = std::max<int64_t>(1, blocks / tiles), most = most_rows_of_thread * down;
    const int64_t each = std::min((s.n * s.hw + wanted - 1) / wanted, most);
    rows_per_chunk = (each + batch - 1) / batch * batch;
    first_chunk[0] = 0;
    first_row[0] = 0;
    for (int i = 0; i < segments; ++i) {
      first_row[i + 1] = s.segment_end[i] * s.hw;
      first_chunk[i + 1] =
          first_chunk[i] +
          static_cast<int32_t>((first_row[i + 1] - first_row[i] + rows_per_chunk - 1) / rows_per_chunk);
    }
  }
  int32_t chunks() const { return first_chunk[segments]; }
  dim3 grid() const { return dim3(static_cast<unsigned>(chunks()) * static_cast<unsigned>(tiles)); }
};

/// A thread's place in its block's work.
template <int V>
struct RowWalk {
  static constexpr int most_width = ChannelRows::most_across * V;

  int segment, chunk;
  int width, first;    ///< channels of the tile: how many, and the first
  int x, y;            ///< the thread's place across (in channels of the tile) and down
  int rows;            ///< of the chunk
  int64_t at, stride;  ///< the thread's first element, and the distance to its next row's
  bool active;

  __device__ __forceinline__ explicit RowWalk(const ChannelRows& r) {
    chunk = static_cast<int>(blockIdx.x / static_cast<unsigned>(r.tiles));
    const int tile = static_cast<int>(blockIdx.x % static_cast<unsigned>(r.tiles));
    segment = 0;
    while (chunk >= r.first_chunk[segment + 1]) ++segment;
    const int64_t row = r.first_row[segment] + (chunk - r.first_chunk[segment]) * r.rows_per_chunk;
    const int64_t left = r.first_row[segment + 1] - row;
    rows = static_cast<int>(left < r.rows_per_chunk ? left : r.rows_per_chunk);
    y = static_cast<int>(threadIdx.x / static_cast<unsigned>(r.across));
    x = (static_cast<int>(threadIdx.x) - y * r.across) * V;
    width = r.across * V;
    first = tile * width;
    if (width > r.c - first) width = r.c - first;
    active = y < r.down && x < width;
    at = (row + y) * r.c + first + x;
    stride = static_cast<int64_t>(r.down) * r.c;
  }

  /// Fetches and uses the thread's rows, `at_once` at a time.
  template <int at_once, class Work>
  __device__ __forceinline__ void each_row(const ChannelRows& r, Work& work) const {
    if (!active) return;
    int row = y;
    int64_t i = at;
    for (; row + (at_once - 1) * r.down < rows; row += at_once * r.down, i += at_once * stride) {
      typename Work::Fetched in[at_once];
#pragma unroll
      for (int u = 0; u < at_once; ++u) in[u] = work.fetch(i + u * stride);
#pragma unroll
      for (int u = 0; u < at_once; ++u) work.use(i + u * stride, in[u]);
    }
    for (; row < rows; row += r.down, i += stride) work.use(i, work.fetch(i));
  }
};

/// Adds the block's sums, `n` of each channel, in the order of its rows, and stores them as [chunks][n][c].
template <int n, int V>
__device__ __forceinline__ void store_partials(const ChannelRows& r, const RowWalk<V>& walk,
                                               const Floats<V> (&sum)[n], float* partials) {
  SIMT_SHARED(float, part, [n][ChannelRows::threads * V]);
  const int pitch = r.across * V;
  if (walk.active)
#pragma unroll
    for (int k = 0; k < n; ++k) store<V>(&part[k][walk.y * pitch + walk.x], sum[k]);
  __syncthreads();
  for (int j = static_cast<int>(threadIdx.x); j < walk.width; j += ChannelRows::threads) {
    double total[n] = {};
    for (int y = 0; y < r.down; ++y)
#pragma unroll
      for (int k = 0; k < n; ++k) total[k] += static_cast<double>(part[k][y * pitch + j]);
#pragma unroll
    for (int k = 0; k < n; ++k)
      partials[(static_cast<int64_t>(walk.chunk) * n + k) * r.c + walk.first + j] =
          static_cast<float>(total[k]);
  }
}

/// The second launch: a block adds the chunks' sums of 16 channels of a segment, 32 chunks at a time.
struct ChannelTotals {
  static constexpr int channels = 16, lanes = 32, threads = channels * lanes;

  static dim3 grid(const ChannelRows& r) {
    return dim3(static_cast<unsigned>((r.c + channels - 1) / channels), static_cast<unsigned>(r.segments));
  }

  /// The totals of channel `channel` of segment blockIdx.y, in the threads for which it answers true.
  template <int n>
  static __device__ __forceinline__ bool add(const ChannelRows& r, const float* __restrict__ partials,
                                             int& channel, double (&total)[n]) {
    const int x = static_cast<int>(threadIdx.x) % channels, lane = static_cast<int>(threadIdx.x) / channels;
    channel = static_cast<int>(blockIdx.x) * channels + x;
    const int end = r.first_chunk[blockIdx.y + 1];
#pragma unroll
    for (int k = 0; k < n; ++k) total[k] = 0;
    if (channel < r.c)
#pragma unroll 4
      for (int chunk = r.first_chunk[blockIdx.y] + lane; chunk < end; chunk += lanes) {
        const float* from = partials + static_cast<int64_t>(chunk) * n * r.c + channel;
#pragma unroll
        for (int k = 0; k < n; ++k) total[k] += static_cast<double>(from[static_cast<int64_t>(k) * r.c]);
      }
    over_lanes(x, lane, total);
    return lane == 0 && channel < r.c;
  }

  /// Adds up what thread x + channels * lane of the block has of channel x; the totals are lane 0's.
  template <int n>
  static __device__ __forceinline__ void over_lanes(int x, int lane, double (&total)[n]) {
    SIMT_SHARED(double, part, [n][lanes][channels + 1]);
    for (int half = lanes / 2; half; half /= 2) {
      if (lane >= half && lane < 2 * half)
#pragma unroll
        for (int k = 0; k < n; ++k) part[k][lane][x] = total[k];
      __syncthreads();
      if (lane < half)
#pragma unroll
        for (int k = 0; k < n; ++k) total[k] += part[k][lane + half][x];
    }
  }
};

}  // namespace rtfq::kernels::RTFQ_GPU
