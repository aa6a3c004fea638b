// The fused forward pass: z = norm(x) + residual, codes of z, and what the identity path reads of it; z
// itself is never stored.
//
// A block of 256 threads works out the factors of its channels once, in shared memory; a thread keeps those
// of 8 bf16 or 4 f32 channels in registers (4 bf16 where a second norm is added, one channel where c is no
// multiple) and goes down the rows of its chunk (channel_rows.h), 16 bytes a load, several rows in flight.
// Rounding to codes is one addition (values.h). Floor, an element: x and the residual read (2 or 4 bytes
// each, 1 of codes), 1 byte written for each code; about 10 operations for each of norm and quantizer. Bound
// by memory. Limits: f32 and bf16; fewer than 2^31 blocks. Shared memory: 5 KB.
// H200, 2026-11-27: 64x28x28x512 f32 in 41 us, 3.1 TB/s (docs/results/gpu-h200.md).
#include "kernels/cuda/normquant_element.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

constexpr int threads = ChannelRows::threads;
/// Two waves of eight blocks on each of an H100's 132 multiprocessors.
constexpr int64_t wanted_blocks = 2112;

/// Blocks that a multiprocessor's registers must hold; a second operand of floats needs more of them.
template <class Kinds>
constexpr int resident = 3;
template <rtfq_identity to>
constexpr int resident<FixedKinds<RTFQ_RESIDUAL_VALUES, to>> = 2;
template <rtfq_identity to>
constexpr int resident<FixedKinds<RTFQ_RESIDUAL_NORM, to>> = 2;

template <class T, int V, class Kinds>
struct Forward {
  ResidualSum<T, V, Kinds> sum;
  UnsignedQuantizer quantizer, identity_quantizer;
  uint8_t* codes;
  void* identity;
  using Fetched = typename ResidualSum<T, V, Kinds>::Fetched;

  __device__ __forceinline__ Fetched fetch(int64_t i) const { return sum.fetch(i); }
  __device__ __forceinline__ void use(int64_t i, const Fetched& in) const {
    Floats<V> z = sum.at(in).z;
    quantizer.store(codes + i, z);
    if (sum.kinds.identity == RTFQ_IDENTITY_CODES)
      identity_quantizer.store(static_cast<uint8_t*>(identity) + i, z);
    if (sum.kinds.identity == RTFQ_IDENTITY_VALUES) {
#pragma unroll
      for (int j = 0; j < V; ++j) z.v[j] = z.v[j] < 0.0f ? 0.0f : z.v[j];  // a NaN stays one
      store<V>(static_cast<T*>(identity) + i, z);
    }
  }
};

template <class T, int V, class Kinds, int at_once>
__global__ void __launch_bounds__(threads, resident<Kinds>)
    forward(const __grid_constant__ ChannelRows r, const __grid_constant__ NormQuantForwardArgs a,
            Kinds kinds, float epsilon, int32_t qp, int32_t identity_qp) {
  SIMT_SHARED(float, main, [3][RowWalk<V>::most_width]);
  SIMT_SHARED(float, other, [3][RowWalk<V>::most_width]);
  const RowWalk<V> walk(r);
  fill_norms(r, walk, a.in, kinds, epsilon, main, other);
  __syncthreads();
  if (!walk.active) return;
  Forward<T, V, Kinds> work{ResidualSum<T, V, Kinds>(kinds, a.in), {}, {}, a.codes, a.identity};
  work.sum.take(main, other, walk.x);
  work.quantizer.set(a.in.step, qp);
  if (kinds.identity == RTFQ_IDENTITY_CODES) work.identity_quantizer.set(a.in.identity_step, identity_qp);
  walk.template each_row<at_once>(r, work);
}

template <class T, int V, class Kinds>
void launch_forward(const NormQuantShape& s, const NormQuantForwardArgs& a, Kinds kinds, Stream stream) {
  constexpr int at_once = 4;
  const ChannelRows r(s.norm, V, at_once, wanted_blocks);
  simt::launch(forward<T, V, Kinds, at_once>, r.grid(), dim3(threads), 0, stream_of(stream), r, a, kinds,
               s.norm.epsilon, s.qp, s.identity_qp);
}

template <class T>
void choose_kinds(const NormQuantShape& s, const NormQuantForwardArgs& a, Stream stream) {
  const auto aligned_to = [&](std::size_t width) {
    return aligned(a.codes, width) && (s.identity != RTFQ_IDENTITY_CODES || aligned(a.identity, width)) &&
           (s.identity != RTFQ_IDENTITY_VALUES || aligned(a.identity, width * sizeof(T)));
  };
  with_kinds_and_width<T>(s, a.in, aligned_to, [&](auto kinds, auto width) {
    launch_forward<T, decltype(width)::value>(s, a, kinds, stream);
  });
}

}  // namespace

void normquant_forward_rows(const NormQuantShape& s, const NormQuantForwardArgs& a, Stream stream) {
  s.norm.type == RTFQ_BF16 ? choose_kinds<bf16>(s, a, stream) : choose_kinds<float>(s, a, stream);
}

}  // namespace rtfq::kernels::RTFQ_GPU
