// Fake-quant backward in one pass over g and x: the straight-through gradient of x and the step's gradient
// (Esser et al., ICLR 2020, equations 2, 3 and 5).
//
// A block of 256 threads takes up to 4,096 elements that share a step size (fakequant.h), a thread four
// neighbouring ones at a time, 16 bytes a load, or one where a line does not start on 16 bytes. It sums g*t
// of its at most 16 elements in f32, the block adds its threads' sums in double and writes one partial sum. A
// second launch, one block a step size, adds the partial sums in a fixed order: the same bits on every run.
// Floor: 8 bytes read and 4 written an element (4 more read where dx accumulates), 7 operations; the second
// launch reads one double for every 4,096 elements. Bound by memory. Limits: f32; fewer than 2^31 lines.
// Shared memory: 64 bytes. Not yet timed on a GPU.
#include "kernels/cuda/fakequant.h"
#include "kernels/cuda/reduce.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

constexpr int threads = FakeQuantCut::threads;

/// g where -qn < v < qp (false for a NaN), else 0; g*t is added to `sum`.
template <bool want_ds>
__device__ __forceinline__ float backward_one(float x, float g, float r, float low, float high, float& sum) {
  const float v = x * r;
  const bool above = v > low, inside = above && v < high;
  if constexpr (want_ds) sum = __fmaf_rn(g, inside ? rintf(v) - v : above ? high : low, sum);
  return inside ? g : 0.0f;
}

template <int V, bool want_dx, bool accumulate, bool want_ds>
__global__ void __launch_bounds__(threads)
    backward(FakeQuantCut cut, const float* __restrict__ g, const float* __restrict__ x,
             const float* __restrict__ step, float* __restrict__ dx, double* __restrict__ partial, float low,
             float high) {
  const FakeQuantCut::Block block = cut.block(blockIdx.x);
  const float r = __frcp_rn(step[block.span]);
  float sum = 0.0f;
  for (int i = V * static_cast<int>(threadIdx.x); i < block.count; i += V * threads) {
    const int64_t at = cut.offset(block, i), dense = block.dense + i;
    if (i + V <= block.count) {
      const Floats<V> in = load<V>(x + at), grad = load<V>(g + dense);
      Floats<V> out;
      for (int j = 0; j < V; ++j) out.v[j] = backward_one<want_ds>(in.v[j], grad.v[j], r, low, high, sum);
      if constexpr (accumulate) {
        const Floats<V> old = load<V>(dx + at);
        for (int j = 0; j < V; ++j) out.v[j] = old.v[j] + out.v[j];
      }
      if constexpr (want_dx) store<V>(dx + at, out);
    } else {  // the end of a tensor whose size is no multiple of four
      for (int j = 0; i + j < block.count; ++j) {
        const float out = backward_one<want_ds>(x[at + j], g[dense + j], r, low, high, sum);
        if constexpr (want_dx) dx[at + j] = accumulate ? dx[at + j] + out : out;
      }
    }
  }
  if constexpr (want_ds) {
    const double total = block_sum<threads>(static_cast<double>(sum));
    if (threadIdx.x == 0) partial[blockIdx.x] = total;
  }
}

/// Block i adds the partial sums of step size i.
__global__ void __launch_bounds__(threads)
    finish(const double* __restrict__ partial, int count, float* __restrict__ ds, float grad_scale) {
  double sum = 0;
  const double* mine = partial + static_cast<int64_t>(blockIdx.x) * count;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += threads) sum += mine[i];
  sum = block_sum<threads>(sum);
  if (threadIdx.x == 0) ds[blockIdx.x] += static_cast<float>(sum * static_cast<double>(grad_scale));
}

template <int V, bool want_dx, bool accumulate, bool want_ds>
void launch_backward(const FakeQuantCut& cut, const FakeQuantShape& s, const FakeQuantBackwardArgs& a,
                     Stream stream) {
  simt::launch(backward<V, want_dx, accumulate, want_ds>, dim3(static_cast<unsigned>(cut.blocks())),
               dim3(threads), 0, stream_of(stream), cut, static_cast<const float*>(a.g),
               static_cast<const float*>(a.x), a.step, static_cast<float*>(a.dx),
               static_cast<double*>(a.workspace), static_cast<float>(-s.qn), static_cast<float>(s.qp));
  if constexpr (want_ds)
    simt::launch(finish, dim3(static_cast<unsigned>(cut.spans)), dim3(threads), 0, stream_of(stream),
                 static_cast<const double*>(a.workspace), cut.blocks_per_span, a.ds, a.grad_scale);
}

template <bool want_dx, bool accumulate, bool want_ds>
void choose_width(const FakeQuantShape& s, const FakeQuantBackwardArgs& a, Stream stream) {
  const FakeQuantCut cut(s);
  if (cut.takes_four() && aligned(a.x, 16) && aligned(a.g, 16) && aligned(a.dx, 16))
    launch_backward<4, want_dx, accumulate, want_ds>(cut, s, a, stream);
  else
    launch_backward<1, want_dx, accumulate, want_ds>(cut, s, a, stream);
}

}  // namespace

void fakequant_backward_fused(const FakeQuantShape& s, const FakeQuantBackwardArgs& a, Stream stream) {
  if (a.dx && a.ds)
    a.accumulate_dx ? choose_width<true, true, true>(s, a, stream)
                    : choose_width<true, false, true>(s, a, stream);
  else if (a.dx)
    a.accumulate_dx ? choose_width<true, true, false>(s, a, stream)
                    : choose_width<true, false, false>(s, a, stream);
  else if (a.ds)
    choose_width<false, false, true>(s, a, stream);
}

}  // namespace rtfq::kernels::RTFQ_GPU
