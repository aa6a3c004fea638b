// Sums of |x| (signed codes) or max(x, 0) (unsigned ones), from which step sizes are initialized.
//
// A block of 256 threads takes up to 16 KB of x that share a step size (fakequant.h), a thread four times 16
// bytes, all in flight before the first is used, and writes one partial sum in double; a second launch, one
// block a step size, adds those in a fixed order. Floor: 4 or 2 bytes read an element, 2 operations. Bound by
// memory. Limits: f32, bf16 and f16; fewer than 2^31 lines. Shared memory: 64 bytes. Not yet timed on a GPU.
#include "kernels/cuda/fakequant.h"
#include "kernels/cuda/reduce.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

constexpr int threads = FakeQuantCut::threads;

template <class T, bool is_signed>
struct Magnitudes {
  const T* x;
  float sum = 0;
  template <int V>
  using Fetched = Packed<T, V>;

  template <int V>
  __device__ __forceinline__ Fetched<V> fetch(int64_t at, int64_t) const {
    return RTFQ_GPU::fetch<V>(x + at);
  }
  /// A NaN stays one.
  template <int V>
  __device__ __forceinline__ void use(int64_t, int64_t, const Fetched<V>& in) {
    const Floats<V> value = floats(in);
#pragma unroll
    for (int j = 0; j < V; ++j) sum += is_signed ? fabsf(value.v[j]) : value.v[j] < 0.0f ? 0.0f : value.v[j];
  }
};

template <class T, int V, bool is_signed>
__global__ void __launch_bounds__(threads)
    partial_sums(FakeQuantCut cut, const T* __restrict__ x, double* __restrict__ partial) {
  Magnitudes<T, is_signed> work{x};
  each_element<T, V>(cut, cut.block(blockIdx.x), work);
  const double total = block_sum<threads>(static_cast<double>(work.sum));
  if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

/// Block i adds the partial sums of step size i.
__global__ void __launch_bounds__(threads)
    finish(const double* __restrict__ partial, int count, float* __restrict__ out) {
  double sum = 0;
  const double* mine = partial + static_cast<int64_t>(blockIdx.x) * count;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += threads) sum += mine[i];
  sum = block_sum<threads>(sum);
  if (threadIdx.x == 0) out[blockIdx.x] = static_cast<float>(sum);
}

template <class T, bool is_signed>
void launch_sums(const FakeQuantShape& s, const AbsSumArgs& a, Stream stream) {
  constexpr int V = per_access<T>;
  const FakeQuantCut cut(s);
  auto* partial = static_cast<double*>(a.workspace);
  const bool wide = cut.takes(V) && aligned(a.x, 16);
  simt::launch(wide ? partial_sums<T, V, is_signed> : partial_sums<T, 1, is_signed>,
               dim3(static_cast<unsigned>(cut.blocks())), dim3(threads), 0, stream_of(stream), cut,
               static_cast<const T*>(a.x), partial);
  simt::launch(finish, dim3(static_cast<unsigned>(cut.spans)), dim3(threads), 0, stream_of(stream), partial,
               cut.blocks_per_span, a.out);
}

template <class T>
void choose_sign(const FakeQuantShape& s, const AbsSumArgs& a, Stream stream) {
  s.qn > 0 ? launch_sums<T, true>(s, a, stream) : launch_sums<T, false>(s, a, stream);
}

}  // namespace

void abs_sum_blocks(const FakeQuantShape& s, const AbsSumArgs& a, Stream stream) {
  with_element(s, [&](auto one) { choose_sign<decltype(one)>(s, a, stream); });
}

}  // namespace rtfq::kernels::RTFQ_GPU
