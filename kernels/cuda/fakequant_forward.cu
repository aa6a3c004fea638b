// Fake-quant forward: values and/or 8-bit codes from one read of x.
//
// A block of 256 threads takes up to 4,096 elements that share a step size (fakequant.h), a thread four
// neighbouring ones at a time, 16 bytes a load, or one where a line does not start on 16 bytes (an odd number
// of channels). Floor: 4 bytes read an element, 4 written for values, 1 for codes; 5 operations. Bound by
// memory. Limits: f32; fewer than 2^31 lines. Needs no workspace and no shared memory. Not yet timed on a
// GPU.
#include "kernels/cuda/fakequant.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

/// The code as a float. Bounds are integers, so clamping may come before rounding; the maximum answers `low`
/// for a NaN. Adding zero turns a code of -0 into +0.
__device__ __forceinline__ float code_of(float x, float r, float low, float high) {
  return rintf(fminf(fmaxf(x * r, low), high)) + 0.0f;
}

template <int V, bool values, bool codes>
__global__ void __launch_bounds__(FakeQuantCut::threads)
    forward(FakeQuantCut cut, const float* __restrict__ x, const float* __restrict__ step,
            float* __restrict__ y, uint8_t* __restrict__ code, float low, float high) {
  const FakeQuantCut::Block block = cut.block(blockIdx.x);
  const float s = step[block.span], r = __frcp_rn(s);
  for (int i = V * static_cast<int>(threadIdx.x); i < block.count; i += V * FakeQuantCut::threads) {
    const int64_t from = cut.offset(block, i), to = block.dense + i;
    if (i + V <= block.count) {
      const Floats<V> in = load<V>(x + from);
      Floats<V> c;
      for (int j = 0; j < V; ++j) c.v[j] = code_of(in.v[j], r, low, high);
      if constexpr (codes) {
        uint32_t packed = 0;
        for (int j = 0; j < V; ++j)
          packed |= (static_cast<uint32_t>(__float2int_rn(c.v[j])) & 0xffu) << 8 * j;
        if constexpr (V == 4)
          *reinterpret_cast<uint32_t*>(code + to) = packed;
        else
          code[to] = static_cast<uint8_t>(packed);
      }
      if constexpr (values) {
        for (int j = 0; j < V; ++j) c.v[j] *= s;
        store<V>(y + to, c);
      }
    } else {  // the end of a tensor whose size is no multiple of four
      for (int j = 0; i + j < block.count; ++j) {
        const float c = code_of(x[from + j], r, low, high);
        if constexpr (codes) code[to + j] = static_cast<uint8_t>(__float2int_rn(c));
        if constexpr (values) y[to + j] = c * s;
      }
    }
  }
}

template <int V, bool values, bool codes>
void launch_forward(const FakeQuantCut& cut, const FakeQuantShape& s, const FakeQuantForwardArgs& a,
                    Stream stream) {
  simt::launch(forward<V, values, codes>, dim3(static_cast<unsigned>(cut.blocks())),
               dim3(FakeQuantCut::threads), 0, stream_of(stream), cut, static_cast<const float*>(a.x), a.step,
               static_cast<float*>(a.y), static_cast<uint8_t*>(a.codes), static_cast<float>(-s.qn),
               static_cast<float>(s.qp));
}

template <bool values, bool codes>
void choose_width(const FakeQuantShape& s, const FakeQuantForwardArgs& a, Stream stream) {
  const FakeQuantCut cut(s);
  if (cut.takes_four() && aligned(a.x, 16) && aligned(a.y, 16) && aligned(a.codes, 4))
    launch_forward<4, values, codes>(cut, s, a, stream);
  else
    launch_forward<1, values, codes>(cut, s, a, stream);
}

}  // namespace

void fakequant_forward_vector(const FakeQuantShape& s, const FakeQuantForwardArgs& a, Stream stream) {
  if (a.y && a.codes)
    choose_width<true, true>(s, a, stream);
  else if (a.y)
    choose_width<true, false>(s, a, stream);
  else if (a.codes)
    choose_width<false, true>(s, a, stream);
}

}  // namespace rtfq::kernels::RTFQ_GPU
