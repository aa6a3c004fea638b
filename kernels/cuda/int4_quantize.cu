// LSQ codes of at most 4 bits, two in a byte, from one read of x.
//
// vector: a block of 256 threads takes up to 16 KB of x that share a step size (fakequant.h), a thread four
// times 16 bytes, all in flight before the first is used: 4 or 8 elements, which are 2 or 4 bytes of codes.
// naive: a thread makes one byte, a block 128 neighbouring ones. Floor: 4 or 2 bytes read and half a byte
// written an element, 4 operations. Bound by memory. Limits: f32, bf16 and f16; fewer than 2^31 lines; of
// vector: one line, or lines of a multiple of 4 or 8 elements. Needs no workspace and no shared memory. Not
// yet timed on a GPU.
#include "kernels/cuda/fakequant.h"
#include "kernels/cuda/int4.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

constexpr int threads = FakeQuantCut::threads, naive_threads = 128;

template <class T>
struct Quantize {
  const T* x;
  uint8_t* codes;
  float r, low, high;
  template <int V>
  using Fetched = Packed<T, V>;

  template <int V>
  __device__ __forceinline__ Fetched<V> fetch(int64_t at, int64_t) const {
    return RTFQ_GPU::fetch<V>(x + at);
  }
  /// Clamped to integers, so that rounding may come last; the maximum answers `low` for a NaN.
  __device__ __forceinline__ uint32_t nibble(float value) const {
    return __float_as_uint(fminf(fmaxf(value * r, low), high) + integer_shift) & 15u;
  }
  template <int V>
  __device__ __forceinline__ void use(int64_t, int64_t dense, const Fetched<V>& in) const {
    const Floats<V> v = floats(in);
    uint8_t* to = codes + dense / 2;
    if constexpr (V == 1) {
      // A tensor's last few elements come one by one, in order, to one thread.
      const uint32_t own = nibble(v.v[0]);
      *to = static_cast<uint8_t>(dense % 2 ? *to | own << 4 : own);
    } else {
      uint32_t all = 0;
#pragma unroll
      for (int j = 0; j < V; ++j) all |= nibble(v.v[j]) << 4 * j;
      if constexpr (V == 4)
        *reinterpret_cast<uint16_t*>(to) = static_cast<uint16_t>(all);
      else
        *reinterpret_cast<uint32_t*>(to) = all;
    }
  }
};

template <class T>
__global__ void __launch_bounds__(threads)
    quantize(FakeQuantCut cut, const T* __restrict__ x, const float* __restrict__ step,
             uint8_t* __restrict__ codes, float low, float high) {
  const FakeQuantCut::Block block = cut.block(blockIdx.x);
  Quantize<T> work{x, codes, __frcp_rn(step[block.span]), low, high};
  each_element<T, per_access<T>>(cut, block, work);
}

/// A thread's byte is `local` of its line.
template <class T>
__global__ void __launch_bounds__(naive_threads)
    quantize_naive(FakeQuantShape s, const T* x, const float* step, uint8_t* codes, int64_t line_bytes) {
  const int64_t byte = static_cast<int64_t>(blockIdx.x) * naive_threads + threadIdx.x;
  const int64_t line = byte / line_bytes, local = byte % line_bytes;
  if (line >= s.rows * s.groups) return;
  const int64_t row = line / s.groups;
  const T* from = x + row * s.row_stride + line % s.groups * s.group_stride + 2 * local;
  const float r = __frcp_rn(step[s.per_row ? row : 0]);
  unsigned both = 0;
  for (int i = 0; i < 2; ++i) {
    if (2 * local + i >= s.cols) break;
    const float v = load<1>(from + i).v[0] * r;
    int code = -s.qn;
    if (v > static_cast<float>(-s.qn)) code = v >= static_cast<float>(s.qp) ? s.qp : __float2int_rn(v);
    both |= (static_cast<unsigned>(code) & 15u) << 4 * i;
  }
  codes[byte] = static_cast<uint8_t>(both);
}

template <class T>
void launch_naive(const FakeQuantShape& s, const Int4QuantizeArgs& a, Stream stream) {
  const int64_t line_bytes = int4_bytes(s.cols), bytes = s.rows * s.groups * line_bytes;
  simt::launch(quantize_naive<T>, dim3(static_cast<unsigned>((bytes + naive_threads - 1) / naive_threads)),
               dim3(naive_threads), 0, stream_of(stream), s, static_cast<const T*>(a.x), a.step, a.codes,
               line_bytes);
}

template <class T>
void launch_vector(const FakeQuantShape& s, const Int4QuantizeArgs& a, Stream stream) {
  const FakeQuantCut cut(s);
  if (!aligned(a.x, 16) || !aligned(a.codes, 4)) return launch_naive<T>(s, a, stream);
  simt::launch(quantize<T>, dim3(static_cast<unsigned>(cut.blocks())), dim3(threads), 0, stream_of(stream),
               cut, static_cast<const T*>(a.x), a.step, a.codes, static_cast<float>(-s.qn),
               static_cast<float>(s.qp));
}

}  // namespace

const char* int4_quantize_unsupported(const FakeQuantShape& s) {
  if (const char* reason = unsupported_codes(Int4Quantize{}, s)) return reason;
  return fakequant_unsupported(s);
}

const char* int4_quantize_vector_unsupported(const FakeQuantShape& s) {
  if (const char* reason = int4_quantize_unsupported(s)) return reason;
  // The cut joins lines that lie one behind the other, which their codes then must too.
  const bool joinable = s.rows * s.groups == 1 || s.cols % 2 == 0;
  return joinable && FakeQuantCut(s).takes(s.type == RTFQ_F32 ? per_access<float> : per_access<bf16>)
             ? nullptr
             : "takes one line, or lines of whole bytes whose elements fill 16 bytes";
}

void int4_quantize_vector(const FakeQuantShape& s, const Int4QuantizeArgs& a, Stream stream) {
  with_element(s, [&](auto one) { launch_vector<decltype(one)>(s, a, stream); });
}
void int4_quantize_naive(const FakeQuantShape& s, const Int4QuantizeArgs& a, Stream stream) {
  with_element(s, [&](auto one) { launch_naive<decltype(one)>(s, a, stream); });
}

}  // namespace rtfq::kernels::RTFQ_GPU
