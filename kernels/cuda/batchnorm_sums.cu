// Batch statistics and the sums of the backward pass: one read of each operand.
//
// A thread of a block of 256 keeps 8 bf16 or 4 f32 channels (16 bytes a load; one where c is no multiple of
// that) and sums at most 256 rows in f32, four loads in flight; the block adds its threads' sums in double
// and writes one partial sum a channel (channel_rows.h). A second launch adds the partial sums in double, in
// a fixed order: the same bits on every run and every GPU. Squares are summed about the mean of up to 8 rows
// spread over the segment, which every block works out for itself, so that the mean's own square does not
// drown the variance. Floor: 2 or 4 bytes read an element and operand, 3 operations; the partial sums are 8
// bytes for every 30 rows or more and stay in the second-level cache. Bound by memory. Limits: f32 and bf16;
// fewer than 2^31 blocks. Shared memory: 25 KB.
// H200, 2026-11-27: statistics of 64x28x28x512 f32 in 42 us, 2.5 TB/s (docs/results/gpu-h200.md).
#include "kernels/cuda/batchnorm.h"
#include "kernels/cuda/channel_rows.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

constexpr int threads = ChannelRows::threads, at_once = 4, samples = ChannelRows::least_down;
/// Two waves of four blocks on each of an H100's 132 multiprocessors.
constexpr int64_t wanted_blocks = 1056;

ChannelRows rows_for(const BatchNormShape& s, int V) {
  return {s, V, at_once, wanted_blocks};
}

/// Sums of x - centre and its square.
template <class T, int V>
struct SquareSums {
  const T* x;
  Floats<V> centre, sum[2] = {};
  using Fetched = Packed<T, V>;

  __device__ __forceinline__ Fetched fetch(int64_t i) const {
    return rtfq::kernels::RTFQ_GPU::fetch<V>(x + i);
  }
  __device__ __forceinline__ void use(int64_t, const Fetched& in) {
    const Floats<V> value = floats(in);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const float d = value.v[j] - centre.v[j];
      sum[0].v[j] += d;
      sum[1].v[j] = __fmaf_rn(d, d, sum[1].v[j]);
    }
  }
};

/// Sums of g and g * (x - mean).
template <class T, int V>
struct ProductSums {
  const T *x, *g;
  Floats<V> mean, sum[2] = {};
  struct Fetched {
    Packed<T, V> x, g;
  };

  __device__ __forceinline__ Fetched fetch(int64_t i) const {
    return {rtfq::kernels::RTFQ_GPU::fetch<V>(x + i), rtfq::kernels::RTFQ_GPU::fetch<V>(g + i)};
  }
  __device__ __forceinline__ void use(int64_t, const Fetched& in) {
    const Floats<V> value = floats(in.x), gradient = floats(in.g);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      sum[0].v[j] += gradient.v[j];
      sum[1].v[j] = __fmaf_rn(gradient.v[j], value.v[j] - mean.v[j], sum[1].v[j]);
    }
  }
};

/// The mean of rows spread over the segment, of the tile's channels; the segment's first chunk keeps it.
template <class T, int V>
__device__ __forceinline__ Floats<V> sample_centre(const ChannelRows& r, const RowWalk<V>& walk, const T* x,
                                                   float* centres) {
  SIMT_SHARED(float, sample, [samples][RowWalk<V>::most_width]);
  const int64_t begin = r.first_row[walk.segment], count = r.first_row[walk.segment + 1] - begin;
  const int taken = count < samples ? static_cast<int>(count) : samples;
  if (walk.y < taken && walk.active) {
    const int64_t apart = taken < samples ? 1 : count / samples;
    store<V>(&sample[walk.y][walk.x], load<V>(x + (begin + walk.y * apart) * r.c + walk.first + walk.x));
  }
  __syncthreads();
  const bool keeps = walk.chunk == r.first_chunk[walk.segment];
  for (int j = static_cast<int>(threadIdx.x); j < walk.width; j += threads) {
    float sum = 0;
    for (int i = 0; i < taken; ++i) sum += sample[i][j];
    const float centre = __fdiv_rn(sum, static_cast<float>(taken));
    sample[0][j] = centre;
    if (keeps) centres[walk.segment * r.c + walk.first + j] = centre;
  }
  __syncthreads();
  return walk.active ? load<V>(&sample[0][walk.x]) : Floats<V>{};
}

template <class T, int V>
__global__ void __launch_bounds__(threads, 4)
    square_sums(const __grid_constant__ ChannelRows r, const T* __restrict__ x, float* __restrict__ partials,
                float* __restrict__ centres) {
  const RowWalk<V> walk(r);
  SquareSums<T, V> work{x, sample_centre<T, V>(r, walk, x, centres)};
  walk.template each_row<at_once>(r, work);
  store_partials(r, walk, work.sum, partials);
}

template <class T, int V>
__global__ void __launch_bounds__(threads, 3)
    product_sums(const __grid_constant__ ChannelRows r, const T* __restrict__ x, const T* __restrict__ g,
                 const float* __restrict__ mean, float* __restrict__ partials) {
  const RowWalk<V> walk(r);
  ProductSums<T, V> work{x, g, {}};
  if (walk.active)
#pragma unroll
    for (int j = 0; j < V; ++j) work.mean.v[j] = mean[walk.segment * r.c + walk.first + walk.x + j];
  walk.template each_row<at_once>(r, work);
  store_partials(r, walk, work.sum, partials);
}

__global__ void __launch_bounds__(ChannelTotals::threads)
    finish_statistics(const __grid_constant__ ChannelRows r, const float* __restrict__ partials,
                      const float* __restrict__ centres, float* __restrict__ mean,
                      float* __restrict__ variance) {
  int channel;
  double total[2];
  if (!ChannelTotals::add(r, partials, channel, total)) return;
  const int segment = static_cast<int>(blockIdx.y), at = segment * r.c + channel;
  const auto m = static_cast<double>(r.first_row[segment + 1] - r.first_row[segment]);
  const double offset = total[0] / m, spread = total[1] / m - offset * offset;
  mean[at] = static_cast<float>(static_cast<double>(centres[at]) + offset);
  variance[at] = static_cast<float>(spread < 0 ? 0 : spread);  // a NaN stays one
}

__global__ void __launch_bounds__(ChannelTotals::threads)
    finish_products(const __grid_constant__ ChannelRows r, const float* __restrict__ partials,
                    const float* __restrict__ variance, float epsilon, float* __restrict__ sum_g,
                    float* __restrict__ sum_gx) {
  int channel;
  double total[2];
  if (!ChannelTotals::add(r, partials, channel, total)) return;
  const int at = static_cast<int>(blockIdx.y) * r.c + channel;
  sum_g[at] = static_cast<float>(total[0]);
  sum_gx[at] = static_cast<float>(total[1] * static_cast<double>(inverse_deviation(variance[at], epsilon)));
}

template <class T, int V>
void statistics(const BatchNormShape& s, const BatchNormStatisticsArgs& a, Stream stream) {
  const auto r = rows_for(s, V);
  auto *centres = static_cast<float*>(a.workspace), *partials = centres + s.segments * s.c;
  simt::launch(square_sums<T, V>, r.grid(), dim3(threads), 0, stream_of(stream), r,
               static_cast<const T*>(a.x), partials, centres);
  simt::launch(finish_statistics, ChannelTotals::grid(r), dim3(ChannelTotals::threads), 0, stream_of(stream),
               r, partials, centres, a.mean, a.variance);
}

template <class T, int V>
void reduce(const BatchNormShape& s, const BatchNormReduceArgs& a, Stream stream) {
  const auto r = rows_for(s, V);
  auto* partials = static_cast<float*>(a.workspace);
  simt::launch(product_sums<T, V>, r.grid(), dim3(threads), 0, stream_of(stream), r,
               static_cast<const T*>(a.x), static_cast<const T*>(a.g), a.mean, partials);
  simt::launch(finish_products, ChannelTotals::grid(r), dim3(ChannelTotals::threads), 0, stream_of(stream), r,
               partials, a.variance, s.epsilon, a.sum_g, a.sum_gx);
}

template <class T, class Args>
void statistics(const BatchNormShape& s, const Args& a, Stream stream) {
  constexpr int V = per_access<T>;
  s.c % V == 0 && aligned(a.x, 16) ? statistics<T, V>(s, a, stream) : statistics<T, 1>(s, a, stream);
}

template <class T, class Args>
void reduce(const BatchNormShape& s, const Args& a, Stream stream) {
  constexpr int V = per_access<T>;
  s.c % V == 0 && aligned(a.x, 16) && aligned(a.g, 16) ? reduce<T, V>(s, a, stream)
                                                       : reduce<T, 1>(s, a, stream);
}

}  // namespace

std::size_t batchnorm_sums_bytes(const BatchNormShape& s) {
  int64_t chunks = rows_for(s, 1).chunks();
  for (const int V : {4, 8})
    if (s.c % V == 0) chunks = std::max<int64_t>(chunks, rows_for(s, V).chunks());
  return static_cast<std::size_t>((s.segments + 2 * chunks) * s.c) * sizeof(float);
}

void batchnorm_statistics_blocks(const BatchNormShape& s, const BatchNormStatisticsArgs& a, Stream stream) {
  s.type == RTFQ_BF16 ? statistics<bf16>(s, a, stream) : statistics<float>(s, a, stream);
}
void batchnorm_reduce_blocks(const BatchNormShape& s, const BatchNormReduceArgs& a, Stream stream) {
  s.type == RTFQ_BF16 ? reduce<bf16>(s, a, stream) : reduce<float>(s, a, stream);
}

}  // namespace rtfq::kernels::RTFQ_GPU
