// The fused backward pass, second half: the gradient of each norm's input from g_z, as reduce stored it or
// made again, and the sums over the batch.
//
// Threads and blocks are those of normquant_forward.cu. Floor, an element: x and g_z (or the gradients it is
// made of) read, dx written, and the other norm's x and dx where there is one (2 or 4 bytes each); 5
// operations a norm, 30 more where g_z is made again. Bound by memory. Limits: f32 and bf16; fewer than 2^31
// blocks; g_z made again beside a residual, which no network asks for, goes one channel a thread. Shared
// memory: 5 KB. A result may take an operand's place: each element is read before it is written, by one
// thread. Not yet timed on a GPU.
#include "kernels/cuda/normquant_element.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

constexpr int threads = ChannelRows::threads;
/// Two waves of eight blocks on each of an H100's 132 multiprocessors.
constexpr int64_t wanted_blocks = 2112;

/// Works out what the gradient needs of the tile's channel j beside the norm's own factors.
template <int V>
__device__ __forceinline__ void fill_gradient(const ChannelRows& r, const RowWalk<V>& walk,
                                              const float* variance, float epsilon, const float* sum_g,
                                              const float* sum_gx, float count, TileFactors<V>* tile, int j) {
  const int at = walk.segment * r.c + walk.first + j;
  tile[mean_g_factor][j] = __fdiv_rn(sum_g[at], count);
  tile[slope_factor][j] = inverse_deviation(variance[at], epsilon) * __fdiv_rn(sum_gx[at], count);
}

/// factor * (g - mean_g - centred*slope)
template <int V>
__device__ __forceinline__ Floats<V> norm_gradient(const Floats<V>& centred, const Floats<V>& g,
                                                   const Floats<V>& factor, const Floats<V>& mean_g,
                                                   const Floats<V>& slope) {
  Floats<V> dx;
#pragma unroll
  for (int j = 0; j < V; ++j)
    dx.v[j] = factor.v[j] * __fmaf_rn(-centred.v[j], slope.v[j], g.v[j] - mean_g.v[j]);
  return dx;
}

/// `stored`: g_z is given; of the residual only another norm matters then.
template <class T, int V, class Kinds, bool stored>
struct Apply {
  ResidualSum<T, V, Kinds> sum;
  SumGradient<T, V, Kinds> gradient;
  const T* g_z;
  T *dx, *other_dx;
  Floats<V> mean_g, slope, other_slope;
  struct Fetched {
    typename ResidualSum<T, V, Kinds>::Fetched sum;
    typename SumGradient<T, V, Kinds>::Fetched gradient;
    Packed<T, V> g_z;
  };

  __device__ __forceinline__ Fetched fetch(int64_t i) const {
    Fetched in{};
    in.sum = sum.fetch(i);
    if constexpr (stored)
      in.g_z = RTFQ_GPU::fetch<V>(g_z + i);
    else
      in.gradient = gradient.fetch(i);
    return in;
  }
  __device__ __forceinline__ void use(int64_t i, const Fetched& in) {
    const auto e = sum.at(in.sum);
    Floats<V> g;
    if constexpr (stored)
      g = floats(in.g_z);
    else
      g = gradient.at(e.z, in.gradient);
    store<V>(dx + i, norm_gradient(e.main, g, sum.main.factor, mean_g, slope));
    if (sum.kinds.residual == RTFQ_RESIDUAL_NORM)
      store<V>(other_dx + i, norm_gradient(e.other, g, sum.other.factor, mean_g, other_slope));
  }
};

template <class T, int V, class Kinds, bool stored, int at_once>
__global__ void __launch_bounds__(threads, 2)
    apply(const __grid_constant__ ChannelRows r, const __grid_constant__ NormQuantApplyArgs a, Kinds kinds,
          float epsilon, int32_t qp, int32_t identity_qp) {
  SIMT_SHARED(float, main, [norm_factors][RowWalk<V>::most_width]);
  SIMT_SHARED(float, other, [norm_factors][RowWalk<V>::most_width]);
  const RowWalk<V> walk(r);
  const bool two = kinds.residual == RTFQ_RESIDUAL_NORM;
  const float count = a.counts[walk.segment];
  for (int j = static_cast<int>(threadIdx.x); j < walk.width; j += threads) {
    fill_norm(r, walk, a.in.main, epsilon, main, j);
    fill_gradient(r, walk, a.in.main.variance, epsilon, a.sum_g, a.sum_gx, count, main, j);
    if (!two) continue;
    fill_norm(r, walk, a.in.other, epsilon, other, j);
    fill_gradient(r, walk, a.in.other.variance, epsilon, a.sum_g, a.other_sum_gx, count, other, j);
  }
  __syncthreads();
  if (!walk.active) return;
  Apply<T, V, Kinds, stored> work{
      ResidualSum<T, V, Kinds>(kinds, a.in),
      SumGradient<T, V, Kinds>(kinds, a.in, a.g_codes, a.g_identity, qp, identity_qp),
      static_cast<const T*>(a.g_z),
      static_cast<T*>(a.dx),
      static_cast<T*>(a.other_dx),
      load<V>(&main[mean_g_factor][walk.x]),
      load<V>(&main[slope_factor][walk.x]),
      {}};
  work.sum.take(main, other, walk.x);
  if (two) work.other_slope = load<V>(&other[slope_factor][walk.x]);
  walk.template each_row<at_once>(r, work);
}

template <class T, int V, bool stored, class Kinds>
void launch_apply(const NormQuantShape& s, const NormQuantApplyArgs& a, Kinds kinds, Stream stream) {
  constexpr int at_once = stored ? 4 : 2;
  const ChannelRows r(s.norm, V, at_once, wanted_blocks);
  simt::launch(apply<T, V, Kinds, stored, at_once>, r.grid(), dim3(threads), 0, stream_of(stream), r, a,
               kinds, s.norm.epsilon, s.qp, s.identity_qp);
}

/// `of`: what the kernel has to know of the shape.
template <class T, bool stored, class Kinds>
void choose_width(const NormQuantShape& s, const NormQuantShape& of, const NormQuantApplyArgs& a, Kinds kinds,
                  Stream stream) {
  constexpr int V = normquant_width<T, Kinds>;
  constexpr std::size_t bytes = V * sizeof(T);
  const bool fast = operands_aligned<T, V>(of, a.in) && aligned(a.g_z, bytes) && aligned(a.dx, bytes) &&
                    (stored || (aligned(a.g_codes, bytes) && aligned(a.g_identity, bytes))) &&
                    (of.residual != RTFQ_RESIDUAL_NORM || aligned(a.other_dx, bytes));
  fast ? launch_apply<T, V, stored>(s, a, kinds, stream)
       : launch_apply<T, 1, stored>(s, a, AnyKinds{of.residual, of.identity}, stream);
}

template <class T>
void choose_kinds(const NormQuantShape& s, const NormQuantApplyArgs& a, Stream stream) {
  NormQuantShape of = s;
  if (a.g_z) {
    of.identity = RTFQ_IDENTITY_NONE;
    if (of.residual != RTFQ_RESIDUAL_NORM) of.residual = RTFQ_RESIDUAL_NONE;
    if (of.residual == RTFQ_RESIDUAL_NORM)
      choose_width<T, true>(s, of, a, FixedKinds<RTFQ_RESIDUAL_NORM, RTFQ_IDENTITY_NONE>{}, stream);
    else
      choose_width<T, true>(s, of, a, FixedKinds<RTFQ_RESIDUAL_NONE, RTFQ_IDENTITY_NONE>{}, stream);
  } else if (s.residual != RTFQ_RESIDUAL_NONE) {
    launch_apply<T, 1, false>(s, a, AnyKinds{s.residual, s.identity}, stream);
  } else if (s.identity == RTFQ_IDENTITY_NONE) {
    choose_width<T, false>(s, of, a, FixedKinds<RTFQ_RESIDUAL_NONE, RTFQ_IDENTITY_NONE>{}, stream);
  } else if (s.identity == RTFQ_IDENTITY_CODES) {
    choose_width<T, false>(s, of, a, FixedKinds<RTFQ_RESIDUAL_NONE, RTFQ_IDENTITY_CODES>{}, stream);
  } else {
    choose_width<T, false>(s, of, a, FixedKinds<RTFQ_RESIDUAL_NONE, RTFQ_IDENTITY_VALUES>{}, stream);
  }
}

}  // namespace

void normquant_apply_rows(const NormQuantShape& s, const NormQuantApplyArgs& a, Stream stream) {
  s.norm.type == RTFQ_BF16 ? choose_kinds<bf16>(s, a, stream) : choose_kinds<float>(s, a, stream);
}

}  // namespace rtfq::kernels::RTFQ_GPU
