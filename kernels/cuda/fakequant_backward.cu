// Fake-quant backward in one pass over g and x: the straight-through gradient of x and the step's gradient
// (Esser et al., ICLR 2020, equations 2, 3 and 5).
//
// A block of 256 threads takes up to 16 KB of x that share a step size (fakequant.h), a thread four times 16
// bytes of each operand, all in flight before the first is used, or one element at a time where a line does
// not start on 16 bytes. It sums g*t of its at most 32 elements in f32, the block adds its threads' sums in
// double and writes one partial sum. A second launch, one block a step size, adds the partial sums in a fixed
// order: the same bits on every run. Floor: 8 or 4 bytes read and 4 or 2 written an element (as many more
// read where dx accumulates), 7 operations; the second launch reads one double for every 16 KB. Bound by
// memory. Limits: f32, bf16 and f16; fewer than 2^31 lines. Shared memory: 64 bytes.
// H200, 2026-11-27: 64x56x56x64 f32 in 46 us, 3.4 TB/s (docs/results/gpu-h200.md).
#include "kernels/cuda/fakequant.h"
#include "kernels/cuda/reduce.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

constexpr int threads = FakeQuantCut::threads;

template <class T, bool want_dx, bool accumulate, bool want_ds>
struct Backward {
  const T *g, *x;
  T* dx;
  float r, low, high, sum = 0;
  template <int V>
  struct Fetched {
    Packed<T, V> g, x, dx;
  };

  template <int V>
  __device__ __forceinline__ Fetched<V> fetch(int64_t at, int64_t dense) const {
    Fetched<V> in{};
    in.x = RTFQ_GPU::fetch<V>(x + at);
    in.g = RTFQ_GPU::fetch<V>(g + dense);
    if constexpr (accumulate) in.dx = RTFQ_GPU::fetch<V>(dx + at);
    return in;
  }
  /// g where low < v < high (false for a NaN), else 0; g*t is added to the sum.
  template <int V>
  __device__ __forceinline__ void use(int64_t at, int64_t, const Fetched<V>& in) {
    const Floats<V> value = floats(in.x), gradient = floats(in.g), old = floats(in.dx);
    Floats<V> out;
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const float v = value.v[j] * r;
      const bool above = v > low, inside = above && v < high;
      if constexpr (want_ds)
        sum = __fmaf_rn(gradient.v[j], inside ? round_even(v) - v : above ? high : low, sum);
      out.v[j] = inside ? gradient.v[j] : 0.0f;
      if constexpr (accumulate) out.v[j] = old.v[j] + out.v[j];
    }
    if constexpr (want_dx) store<V>(dx + at, out);
  }
};

template <class T, int V, bool want_dx, bool accumulate, bool want_ds>
__global__ void __launch_bounds__(threads)
    backward(FakeQuantCut cut, const T* __restrict__ g, const T* __restrict__ x,
             const float* __restrict__ step, T* __restrict__ dx, double* __restrict__ partial, float low,
             float high) {
  const FakeQuantCut::Block block = cut.block(blockIdx.x);
  Backward<T, want_dx, accumulate, want_ds> work{g, x, dx, __frcp_rn(step[block.span]), low, high};
  each_element<T, V>(cut, block, work);
  if constexpr (want_ds) {
    const double total = block_sum<threads>(static_cast<double>(work.sum));
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

template <class T, bool want_dx, bool accumulate, bool want_ds>
void launch_backward(const FakeQuantShape& s, const FakeQuantBackwardArgs& a, Stream stream) {
  constexpr int V = per_access<T>;
  const FakeQuantCut cut(s);
  const bool wide = cut.takes(V) && aligned(a.x, 16) && aligned(a.g, 16) && aligned(a.dx, 16);
  auto* partial = static_cast<double*>(a.workspace);
  simt::launch(
      wide ? backward<T, V, want_dx, accumulate, want_ds> : backward<T, 1, want_dx, accumulate, want_ds>,
      dim3(static_cast<unsigned>(cut.blocks())), dim3(threads), 0, stream_of(stream), cut,
      static_cast<const T*>(a.g), static_cast<const T*>(a.x), a.step, static_cast<T*>(a.dx), partial,
      static_cast<float>(-s.qn), static_cast<float>(s.qp));
  if constexpr (want_ds)
    simt::launch(finish, dim3(static_cast<unsigned>(cut.spans)), dim3(threads), 0, stream_of(stream), partial,
                 cut.blocks_per_span, a.ds, a.grad_scale);
}

template <class T>
void choose_results(const FakeQuantShape& s, const FakeQuantBackwardArgs& a, Stream stream) {
  if (a.dx && a.ds)
    a.accumulate_dx ? launch_backward<T, true, true, true>(s, a, stream)
                    : launch_backward<T, true, false, true>(s, a, stream);
  else if (a.dx)
    a.accumulate_dx ? launch_backward<T, true, true, false>(s, a, stream)
                    : launch_backward<T, true, false, false>(s, a, stream);
  else if (a.ds)
    launch_backward<T, false, false, true>(s, a, stream);
}

}  // namespace

void fakequant_backward_fused(const FakeQuantShape& s, const FakeQuantBackwardArgs& a, Stream stream) {
  with_element(s, [&](auto one) { choose_results<decltype(one)>(s, a, stream); });
}

}  // namespace rtfq::kernels::RTFQ_GPU
