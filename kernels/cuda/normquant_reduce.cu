// The fused backward pass, first half: g_z from the gradients of codes and identity through the quantizers'
// straight-through rule, the sums of g_z that each norm's gradient needs, and the step sizes' gradients, with
// z made again from what forward read.
//
// Threads, blocks and partial sums are those of batchnorm_sums.cu: a thread keeps 8 bf16 or 4 f32 channels (4
// where a second norm was added; one where c is no multiple), sums at most 256 rows in f32, its block in
// double, a second launch the blocks. A thread's terms of the step sizes' gradients go to double with the
// block's; the second launch's last block adds them. Floor, an element: x, residual and gradients read, g_z
// written where it is wanted (2 or 4 bytes each, 1 of codes); about 30 operations. Bound by memory. Limits:
// f32 and bf16; fewer than 2^31 blocks. Shared memory: 22 KB. g_z may take a gradient's place: each element
// is read before it is written, by one thread. Not yet timed on a GPU.
#include "kernels/cuda/normquant_element.h"
#include "kernels/cuda/reduce.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

constexpr int threads = ChannelRows::threads, at_once = 2;
/// Two waves of four blocks on each of an H100's 132 multiprocessors.
constexpr int64_t wanted_blocks = 1056;

ChannelRows rows_for(const NormQuantShape& s, int V) {
  return {s.norm, V, at_once, wanted_blocks};
}

template <class T, int V, class Kinds, int sums>
struct Reduce {
  ResidualSum<T, V, Kinds> sum;
  SumGradient<T, V, Kinds> gradient;
  T* g_z;
  Floats<V> total[sums] = {};
  struct Fetched {
    typename ResidualSum<T, V, Kinds>::Fetched sum;
    typename SumGradient<T, V, Kinds>::Fetched gradient;
  };

  __device__ __forceinline__ Fetched fetch(int64_t i) const { return {sum.fetch(i), gradient.fetch(i)}; }
  __device__ __forceinline__ void use(int64_t i, const Fetched& in) {
    const auto e = sum.at(in.sum);
    Floats<V> g = gradient.at(e.z, in.gradient);
    if (g_z) {  // what is stored is what is summed
      const Packed<T, V> stored = packed<T>(g);
      put(g_z + i, stored);
      g = floats(stored);
    }
#pragma unroll
    for (int j = 0; j < V; ++j) {
      total[0].v[j] += g.v[j];
      total[1].v[j] = __fmaf_rn(g.v[j], e.main.v[j], total[1].v[j]);
      if constexpr (sums == 3) total[2].v[j] = __fmaf_rn(g.v[j], e.other.v[j], total[2].v[j]);
    }
  }
};

/// `partials` [chunks][sums][c]; `steps` [blocks][2], of the two step sizes.
template <class T, int V, class Kinds, int sums>
__global__ void __launch_bounds__(threads, 2)
    reduce(const __grid_constant__ ChannelRows r, const __grid_constant__ NormQuantReduceArgs a, Kinds kinds,
           float epsilon, int32_t qp, int32_t identity_qp, float* __restrict__ partials,
           double* __restrict__ steps) {
  SIMT_SHARED(float, main, [3][RowWalk<V>::most_width]);
  SIMT_SHARED(float, other, [3][RowWalk<V>::most_width]);
  const RowWalk<V> walk(r);
  fill_norms(r, walk, a.in, kinds, epsilon, main, other);
  __syncthreads();
  Reduce<T, V, Kinds, sums> work{
      ResidualSum<T, V, Kinds>(kinds, a.in),
      SumGradient<T, V, Kinds>(kinds, a.in, a.g_codes, a.g_identity, qp, identity_qp),
      static_cast<T*>(a.g_z)};
  if (walk.active) work.sum.take(main, other, walk.x);
  walk.template each_row<at_once>(r, work);
  store_partials(r, walk, work.total, partials);
  double step[2] = {static_cast<double>(work.gradient.ds), static_cast<double>(work.gradient.identity_ds)};
  block_sums<threads>(step);
  if (threadIdx.x == 0) steps[2 * blockIdx.x] = step[0], steps[2 * blockIdx.x + 1] = step[1];
}

template <int sums>
__global__ void __launch_bounds__(ChannelTotals::threads)
    finish_channels(const __grid_constant__ ChannelRows r, const float* __restrict__ partials,
                    const float* __restrict__ variance, const float* __restrict__ other_variance,
                    float epsilon, float* __restrict__ sum_g, float* __restrict__ sum_gx,
                    float* __restrict__ other_sum_gx) {
  int channel;
  double total[sums];
  if (!ChannelTotals::add(r, partials, channel, total)) return;
  const int at = static_cast<int>(blockIdx.y) * r.c + channel;
  sum_g[at] = static_cast<float>(total[0]);
  sum_gx[at] = static_cast<float>(total[1] * static_cast<double>(inverse_deviation(variance[at], epsilon)));
  if constexpr (sums == 3)
    if (other_sum_gx)
      other_sum_gx[at] =
          static_cast<float>(total[2] * static_cast<double>(inverse_deviation(other_variance[at], epsilon)));
}

/// One block.
__global__ void __launch_bounds__(threads)
    finish_steps(const double* __restrict__ steps, int blocks, float* __restrict__ ds, float grad_scale,
                 float* __restrict__ identity_ds, float identity_grad_scale) {
  double sum[2] = {};
  for (int i = static_cast<int>(threadIdx.x); i < blocks; i += threads)
    sum[0] += steps[2 * i], sum[1] += steps[2 * i + 1];
  block_sums<threads>(sum);
  if (threadIdx.x > 0) return;
  if (ds) *ds += static_cast<float>(sum[0] * static_cast<double>(grad_scale));
  if (identity_ds) *identity_ds += static_cast<float>(sum[1] * static_cast<double>(identity_grad_scale));
}

template <class T, int V, int sums, class Kinds>
void launch_reduce(const NormQuantShape& s, const NormQuantReduceArgs& a, Kinds kinds, Stream stream) {
  const ChannelRows r = rows_for(s, V);
  auto* steps = static_cast<double*>(a.workspace);
  auto* partials = reinterpret_cast<float*>(steps + 2 * static_cast<int64_t>(r.grid().x));
  const bool two = s.residual == RTFQ_RESIDUAL_NORM;
  simt::launch(reduce<T, V, Kinds, sums>, r.grid(), dim3(threads), 0, stream_of(stream), r, a, kinds,
               s.norm.epsilon, s.qp, s.identity_qp, partials, steps);
  simt::launch(finish_channels<sums>, ChannelTotals::grid(r), dim3(ChannelTotals::threads), 0,
               stream_of(stream), r, partials, a.in.main.variance, a.in.other.variance, s.norm.epsilon,
               a.sum_g, a.sum_gx, two ? a.other_sum_gx : nullptr);
  float* identity_ds = s.identity == RTFQ_IDENTITY_CODES ? a.identity_ds : nullptr;
  if (a.ds || identity_ds)
    simt::launch(finish_steps, dim3(1), dim3(threads), 0, stream_of(stream), steps,
                 static_cast<int>(r.grid().x), a.ds, a.grad_scale, identity_ds, a.identity_grad_scale);
}

template <class T>
void choose_kinds(const NormQuantShape& s, const NormQuantReduceArgs& a, Stream stream) {
  const auto aligned_to = [&](std::size_t width) {
    const std::size_t bytes = width * sizeof(T);
    return aligned(a.g_codes, bytes) && aligned(a.g_identity, bytes) && aligned(a.g_z, bytes);
  };
  with_kinds_and_width<T>(s, a.in, aligned_to, [&](auto kinds, auto width) {
    using Kinds = decltype(kinds);
    constexpr int sums = two_norms<Kinds> || std::is_same_v<Kinds, AnyKinds> ? 3 : 2;
    launch_reduce<T, decltype(width)::value, sums>(s, a, kinds, stream);
  });
}

}  // namespace

std::size_t normquant_reduce_bytes(const NormQuantShape& s) {
  std::size_t bytes = 0;
  for (const int V : {1, 4, 8}) {
    if (s.norm.c % V) continue;
    const ChannelRows r = rows_for(s, V);
    bytes =
        std::max(bytes, r.grid().x * 2 * sizeof(double) + static_cast<std::size_t>(r.chunks()) * 3 *
                                                              static_cast<std::size_t>(r.c) * sizeof(float));
  }
  return bytes;
}

void normquant_reduce_blocks(const NormQuantShape& s, const NormQuantReduceArgs& a, Stream stream) {
  s.norm.type == RTFQ_BF16 ? choose_kinds<bf16>(s, a, stream) : choose_kinds<float>(s, a, stream);
}

}  // namespace rtfq::kernels::RTFQ_GPU
