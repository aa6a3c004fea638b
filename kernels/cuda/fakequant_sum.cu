// Sums of |x| (signed codes) or max(x, 0) (unsigned ones), from which step sizes are initialized.
//
// A block of 256 threads takes up to 4,096 elements that share a step size (fakequant.h), a thread four
// neighbouring ones at a time, and writes one partial sum in double; a second launch, one block a step size,
// adds those in a fixed order. Floor: 4 bytes read an element, 2 operations. Bound by memory. Limits: f32;
// fewer than 2^31 lines. Shared memory: 64 bytes. Not yet timed on a GPU.
#include "kernels/cuda/fakequant.h"
#include "kernels/cuda/reduce.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

constexpr int threads = FakeQuantCut::threads;

/// A NaN stays one.
template <bool is_signed>
__device__ __forceinline__ float magnitude(float x) {
  if constexpr (is_signed) return fabsf(x);
  return x < 0.0f ? 0.0f : x;
}

template <int V, bool is_signed>
__global__ void __launch_bounds__(threads)
    partial_sums(FakeQuantCut cut, const float* __restrict__ x, double* __restrict__ partial) {
  const FakeQuantCut::Block block = cut.block(blockIdx.x);
  float sum = 0.0f;
  for (int i = V * static_cast<int>(threadIdx.x); i < block.count; i += V * threads) {
    const int64_t at = cut.offset(block, i);
    if (i + V <= block.count) {
      const Floats<V> in = load<V>(x + at);
      for (int j = 0; j < V; ++j) sum += magnitude<is_signed>(in.v[j]);
    } else {  // the end of a tensor whose size is no multiple of four
      for (int j = 0; i + j < block.count; ++j) sum += magnitude<is_signed>(x[at + j]);
    }
  }
  const double total = block_sum<threads>(static_cast<double>(sum));
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

template <int V, bool is_signed>
void launch_sums(const FakeQuantCut& cut, const AbsSumArgs& a, Stream stream) {
  auto* partial = static_cast<double*>(a.workspace);
  simt::launch(partial_sums<V, is_signed>, dim3(static_cast<unsigned>(cut.blocks())), dim3(threads), 0,
               stream_of(stream), cut, static_cast<const float*>(a.x), partial);
  simt::launch(finish, dim3(static_cast<unsigned>(cut.spans)), dim3(threads), 0, stream_of(stream), partial,
               cut.blocks_per_span, a.out);
}

}  // namespace

void abs_sum_blocks(const FakeQuantShape& s, const AbsSumArgs& a, Stream stream) {
  const FakeQuantCut cut(s);
  const bool four = cut.takes_four() && aligned(a.x, 16);
  if (s.qn > 0)
    four ? launch_sums<4, true>(cut, a, stream) : launch_sums<1, true>(cut, a, stream);
  else
    four ? launch_sums<4, false>(cut, a, stream) : launch_sums<1, false>(cut, a, stream);
}

}  // namespace rtfq::kernels::RTFQ_GPU
