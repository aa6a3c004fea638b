// ReLU forward and backward, addition.
//
// A block of 256 threads takes 1,024 neighbouring f32 elements or 2,048 of bf16, a thread 16 bytes of each
// operand at a time where all pointers are aligned, else an element. The naive versions take one element a
// thread. Floor: ReLU forward two accesses of an element and one operation, the others three and one. Bound
// by memory. Limits: f32 and bf16; fewer than 2^31 blocks. An output may be an input. Not yet timed on a GPU.
#include "kernels/cuda/values.h"
#include "kernels/elementwise.h"

namespace rtfq::kernels {
namespace RTFQ_GPU {
namespace {

constexpr int threads = 256;

struct Relu {  // a NaN stays one
  __device__ __forceinline__ float operator()(float x, float) const { return x < 0.0f ? 0.0f : x; }
};
struct ReluGradient {
  __device__ __forceinline__ float operator()(float g, float y) const { return y > 0.0f ? g : 0.0f; }
};
struct Sum {
  __device__ __forceinline__ float operator()(float a, float b) const { return a + b; }
};

/// y[i] = F(a[i], b[i]) of T. No __restrict__: y may be a or b; each element is read before it is written, by
/// one thread.
template <class T, int V, class F>
__global__ void __launch_bounds__(threads) map(const T* a, const T* b, T* y, int64_t count) {
  constexpr F f{};
  constexpr int span = threads * per_access<T>;
  const int64_t block = static_cast<int64_t>(blockIdx.x) * span;
  for (int i = V * static_cast<int>(threadIdx.x); i < span; i += V * threads) {
    const int64_t at = block + i;
    if (at + V <= count) {
      const Floats<V> first = load<V>(a + at), second = load<V>(b + at);
      Floats<V> out;
      for (int j = 0; j < V; ++j) out.v[j] = f(first.v[j], second.v[j]);
      store<V>(y + at, out);
    } else {
      for (int64_t j = at; j < count; ++j)
        store<1>(y + j, Floats<1>{{f(load<1>(a + j).v[0], load<1>(b + j).v[0])}});
    }
  }
}

template <class T, class F>
__global__ void __launch_bounds__(threads) map_naive(const T* a, const T* b, T* y, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i < count) store<1>(y + i, Floats<1>{{F()(load<1>(a + i).v[0], load<1>(b + i).v[0])}});
}

template <class T, class F, bool naive>
void launch_typed(const ElementwiseShape& s, const void* a, const void* b, void* y, Stream stream) {
  if (s.count == 0) return;
  constexpr int64_t span = naive ? threads : threads * per_access<T>;
  const bool whole = aligned(a, 16) && aligned(b, 16) && aligned(y, 16);
  const auto kernel = naive ? map_naive<T, F> : whole ? map<T, per_access<T>, F> : map<T, 1, F>;
  simt::launch(kernel, dim3(static_cast<unsigned>((s.count + span - 1) / span)), dim3(threads), 0,
               stream_of(stream), static_cast<const T*>(a), static_cast<const T*>(b), static_cast<T*>(y),
               s.count);
}

template <class F, bool naive>
void launch_map(const ElementwiseShape& s, const void* a, const void* b, void* y, Stream stream) {
  s.type == RTFQ_BF16 ? launch_typed<bf16, F, naive>(s, a, b, y, stream)
                      : launch_typed<float, F, naive>(s, a, b, y, stream);
}

template <bool naive>
void relu_forward(const ElementwiseShape& s, const ReluForwardArgs& a, Stream stream) {
  launch_map<Relu, naive>(s, a.x, a.x, a.y, stream);
}
template <bool naive>
void relu_backward(const ElementwiseShape& s, const ReluBackwardArgs& a, Stream stream) {
  launch_map<ReluGradient, naive>(s, a.g, a.y, a.dx, stream);
}
template <bool naive>
void add(const ElementwiseShape& s, const AddArgs& a, Stream stream) {
  launch_map<Sum, naive>(s, a.a, a.b, a.y, stream);
}

const char* elementwise_unsupported(const ElementwiseShape& s) {
  if (s.type != RTFQ_F32 && s.type != RTFQ_BF16) return "takes f32 or bf16 operands";
  return s.count / threads < INT32_MAX ? nullptr : "takes fewer than 2^31 blocks";
}

}  // namespace
}  // namespace RTFQ_GPU

std::span<const ReluForward::Impl> ReluForward::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {
      {"vector", RTFQ_GPU::elementwise_unsupported, RTFQ_GPU::relu_forward<false>},
      {"naive", RTFQ_GPU::elementwise_unsupported, RTFQ_GPU::relu_forward<true>}};
  return list;
}
std::span<const ReluBackward::Impl> ReluBackward::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {
      {"vector", RTFQ_GPU::elementwise_unsupported, RTFQ_GPU::relu_backward<false>},
      {"naive", RTFQ_GPU::elementwise_unsupported, RTFQ_GPU::relu_backward<true>}};
  return list;
}
std::span<const Add::Impl> Add::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"vector", RTFQ_GPU::elementwise_unsupported, RTFQ_GPU::add<false>},
                                  {"naive", RTFQ_GPU::elementwise_unsupported, RTFQ_GPU::add<true>}};
  return list;
}

}  // namespace rtfq::kernels
