// Fake-quant forward: values and/or 8-bit codes from one read of x.
//
// A block of 256 threads takes up to 16 KB of x that share a step size (fakequant.h), a thread four times 16
// bytes, all in flight before the first is used, or one element at a time where a line does not start on 16
// bytes (an odd number of channels). Rounding to codes is one addition (values.h). Floor: 4 or 2 bytes read
// an element, as many written for values, 1 for codes; 5 operations. Bound by memory. Limits: f32, bf16 and
// f16; fewer than 2^31 lines. Needs no workspace and no shared memory. H200, 2026-11-27: 64x56x56x64 f32 in
// 30 us, 3.4 TB/s (docs/results/gpu-h200.md).
#include "kernels/cuda/fakequant.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

constexpr int threads = FakeQuantCut::threads;

template <class T, bool values, bool codes>
struct Forward {
  const T* x;
  T* y;
  uint8_t* code;
  float s, r, low, high;
  template <int V>
  using Fetched = Packed<T, V>;

  template <int V>
  __device__ __forceinline__ Fetched<V> fetch(int64_t at, int64_t) const {
    return RTFQ_GPU::fetch<V>(x + at);
  }
  /// Bounds are integers, so clamping may come before rounding; the maximum answers `low` for a NaN.
  template <int V>
  __device__ __forceinline__ void use(int64_t, int64_t dense, const Fetched<V>& in) const {
    Floats<V> v = floats(in);
#pragma unroll
    for (int j = 0; j < V; ++j) v.v[j] = fminf(fmaxf(v.v[j] * r, low), high);
    if constexpr (codes) store_codes<V>(code + dense, v);
    if constexpr (values) {
#pragma unroll
      for (int j = 0; j < V; ++j) v.v[j] = round_even(v.v[j]) * s;
      store<V>(y + dense, v);
    }
  }
};

template <class T, int V, bool values, bool codes>
__global__ void __launch_bounds__(threads)
    forward(FakeQuantCut cut, const T* __restrict__ x, const float* __restrict__ step, T* __restrict__ y,
            uint8_t* __restrict__ code, float low, float high) {
  const FakeQuantCut::Block block = cut.block(blockIdx.x);
  const float s = step[block.span];
  const Forward<T, values, codes> work{x, y, code, s, __frcp_rn(s), low, high};
  each_element<T, V>(cut, block, work);
}

template <class T, bool values, bool codes>
void launch_forward(const FakeQuantShape& s, const FakeQuantForwardArgs& a, Stream stream) {
  constexpr int V = per_access<T>;
  const FakeQuantCut cut(s);
  const bool wide = cut.takes(V) && aligned(a.x, 16) && aligned(a.y, 16) && aligned(a.codes, V);
  simt::launch(wide ? forward<T, V, values, codes> : forward<T, 1, values, codes>,
               dim3(static_cast<unsigned>(cut.blocks())), dim3(threads), 0, stream_of(stream), cut,
               static_cast<const T*>(a.x), a.step, static_cast<T*>(a.y), static_cast<uint8_t*>(a.codes),
               static_cast<float>(-s.qn), static_cast<float>(s.qp));
}

template <class T>
void choose_results(const FakeQuantShape& s, const FakeQuantForwardArgs& a, Stream stream) {
  if (a.y && a.codes)
    launch_forward<T, true, true>(s, a, stream);
  else if (a.y)
    launch_forward<T, true, false>(s, a, stream);
  else if (a.codes)
    launch_forward<T, false, true>(s, a, stream);
}

}  // namespace

void fakequant_forward_vector(const FakeQuantShape& s, const FakeQuantForwardArgs& a, Stream stream) {
  with_element(s, [&](auto one) { choose_results<decltype(one)>(s, a, stream); });
}

}  // namespace rtfq::kernels::RTFQ_GPU
