// Normalize (forward) and apply (backward): one read of each operand, one write.
//
// A block of 256 threads works out the factors of its channels once, in shared memory; a thread keeps those
// of 8 bf16 or 4 f32 channels in registers (one channel where c is no multiple of that) and goes down the
// rows of its chunk, 16 bytes a load, four rows in flight (channel_rows.h). Floor: normalize 4 or 8 bytes an
// element and 3 operations, apply 6 or 12 bytes and 5. Bound by memory. Limits: f32 and bf16; fewer than 2^31
// blocks. Shared memory: 4 KB. A result may take an operand's place: each element is read before it is
// written, by one thread.
// H200, 2026-11-27: normalizing 64x28x28x512 f32 in 58 us, 3.5 TB/s (docs/results/gpu-h200.md).
#include "kernels/cuda/batchnorm.h"
#include "kernels/cuda/channel_rows.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

constexpr int threads = ChannelRows::threads, at_once = 4;
/// Two waves of eight blocks on each of an H100's 132 multiprocessors.
constexpr int64_t wanted_blocks = 2112;

template <class T, int V>
struct Normalize {
  const T* x;
  T* y;
  Floats<V> mean, factor, shift;
  bool relu;
  using Fetched = Packed<T, V>;

  __device__ __forceinline__ Fetched fetch(int64_t i) const {
    return rtfq::kernels::RTFQ_GPU::fetch<V>(x + i);
  }
  __device__ __forceinline__ void use(int64_t i, const Fetched& in) const {
    Floats<V> value = floats(in);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      value.v[j] = __fmaf_rn(value.v[j] - mean.v[j], factor.v[j], shift.v[j]);
      if (relu && value.v[j] < 0.0f) value.v[j] = 0.0f;  // a NaN stays one
    }
    store<V>(y + i, value);
  }
};

template <class T, int V>
struct Apply {
  const T *x, *g;
  T* dx;
  Floats<V> mean, mean_g, slope, factor;
  struct Fetched {
    Packed<T, V> x, g;
  };

  __device__ __forceinline__ Fetched fetch(int64_t i) const {
    return {rtfq::kernels::RTFQ_GPU::fetch<V>(x + i), rtfq::kernels::RTFQ_GPU::fetch<V>(g + i)};
  }
  __device__ __forceinline__ void use(int64_t i, const Fetched& in) const {
    const Floats<V> value = floats(in.x), gradient = floats(in.g);
    Floats<V> out;
#pragma unroll
    for (int j = 0; j < V; ++j)
      out.v[j] = factor.v[j] * __fmaf_rn(mean.v[j] - value.v[j], slope.v[j], gradient.v[j] - mean_g.v[j]);
    store<V>(dx + i, out);
  }
};

template <class T, int V>
__global__ void __launch_bounds__(threads, 4)
    normalize(const __grid_constant__ ChannelRows r, const __grid_constant__ BatchNormNormalizeArgs a,
              float epsilon) {
  SIMT_SHARED(float, factors, [3][RowWalk<V>::most_width]);
  const RowWalk<V> walk(r);
  for (int j = static_cast<int>(threadIdx.x); j < walk.width; j += threads) {
    const int channel = walk.first + j, at = walk.segment * r.c + channel;
    factors[0][j] = a.mean[at];
    factors[1][j] = inverse_deviation(a.variance[at], epsilon) * a.scale[walk.segment][channel];
    factors[2][j] = a.shift[walk.segment][channel];
  }
  __syncthreads();
  if (!walk.active) return;
  const Normalize<T, V> work{static_cast<const T*>(a.x),   static_cast<T*>(a.y),
                             load<V>(&factors[0][walk.x]), load<V>(&factors[1][walk.x]),
                             load<V>(&factors[2][walk.x]), a.relu};
  walk.template each_row<at_once>(r, work);
}

template <class T, int V>
__global__ void __launch_bounds__(threads, 3)
    apply(const __grid_constant__ ChannelRows r, const __grid_constant__ BatchNormApplyArgs a,
          float epsilon) {
  SIMT_SHARED(float, factors, [4][RowWalk<V>::most_width]);
  const RowWalk<V> walk(r);
  const float count = a.counts[walk.segment];
  for (int j = static_cast<int>(threadIdx.x); j < walk.width; j += threads) {
    const int channel = walk.first + j, at = walk.segment * r.c + channel;
    const float inverse = inverse_deviation(a.variance[at], epsilon);
    factors[0][j] = a.mean[at];
    factors[1][j] = __fdiv_rn(a.sum_g[at], count);
    factors[2][j] = inverse * __fdiv_rn(a.sum_gx[at], count);
    factors[3][j] = a.scale[walk.segment][channel] * inverse;
  }
  __syncthreads();
  if (!walk.active) return;
  const Apply<T, V> work{static_cast<const T*>(a.x),   static_cast<const T*>(a.g),
                         static_cast<T*>(a.dx),        load<V>(&factors[0][walk.x]),
                         load<V>(&factors[1][walk.x]), load<V>(&factors[2][walk.x]),
                         load<V>(&factors[3][walk.x])};
  walk.template each_row<at_once>(r, work);
}

template <class T, int V>
void launch_normalize(const BatchNormShape& s, const BatchNormNormalizeArgs& a, Stream stream) {
  const ChannelRows r(s, V, at_once, wanted_blocks);
  simt::launch(normalize<T, V>, r.grid(), dim3(threads), 0, stream_of(stream), r, a, s.epsilon);
}

template <class T, int V>
void launch_apply(const BatchNormShape& s, const BatchNormApplyArgs& a, Stream stream) {
  const ChannelRows r(s, V, at_once, wanted_blocks);
  simt::launch(apply<T, V>, r.grid(), dim3(threads), 0, stream_of(stream), r, a, s.epsilon);
}

template <class T>
void choose_width(const BatchNormShape& s, const BatchNormNormalizeArgs& a, Stream stream) {
  constexpr int V = per_access<T>;
  s.c % V == 0 && aligned(a.x, 16) && aligned(a.y, 16) ? launch_normalize<T, V>(s, a, stream)
                                                       : launch_normalize<T, 1>(s, a, stream);
}

template <class T>
void choose_width(const BatchNormShape& s, const BatchNormApplyArgs& a, Stream stream) {
  constexpr int V = per_access<T>;
  s.c % V == 0 && aligned(a.x, 16) && aligned(a.g, 16) && aligned(a.dx, 16)
      ? launch_apply<T, V>(s, a, stream)
      : launch_apply<T, 1>(s, a, stream);
}

}  // namespace

void batchnorm_normalize_rows(const BatchNormShape& s, const BatchNormNormalizeArgs& a, Stream stream) {
  s.type == RTFQ_BF16 ? choose_width<bf16>(s, a, stream) : choose_width<float>(s, a, stream);
}
void batchnorm_apply_rows(const BatchNormShape& s, const BatchNormApplyArgs& a, Stream stream) {
  s.type == RTFQ_BF16 ? choose_width<bf16>(s, a, stream) : choose_width<float>(s, a, stream);
}

}  // namespace rtfq::kernels::RTFQ_GPU
