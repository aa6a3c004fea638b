// ReLU forward and backward, addition.
//
// A block of 256 threads takes 1,024 neighbouring elements, a thread four of them with 16-byte accesses where
// all pointers are aligned, else one at a time. The naive versions take one element a thread. Floor: ReLU
// forward 8 bytes an element and one operation, the others 12 and one. Bound by memory. Limits: f32; fewer
// than 2^31 blocks. An output may be an input. Not yet timed on a GPU.
#include "kernels/cuda/values.h"
#include "kernels/elementwise.h"

namespace rtfq::kernels {
namespace RTFQ_GPU {
namespace {

constexpr int threads = 256, each = 4;

struct Relu {  // a NaN stays one
  __device__ __forceinline__ float operator()(float x, float) const { return x < 0.0f ? 0.0f : x; }
};
struct ReluGradient {
  __device__ __forceinline__ float operator()(float g, float y) const { return y > 0.0f ? g : 0.0f; }
};
struct Sum {
  __device__ __forceinline__ float operator()(float a, float b) const { return a + b; }
};

/// y[i] = F(a[i], b[i]). No __restrict__: y may be a or b; each element is read before it is written, by one
/// thread.
template <int V, class F>
__global__ void __launch_bounds__(threads) map(const float* a, const float* b, float* y, int64_t count) {
  constexpr F f{};
  const int64_t block = static_cast<int64_t>(blockIdx.x) * threads * each;
  for (int i = V * static_cast<int>(threadIdx.x); i < threads * each; i += V * threads) {
    const int64_t at = block + i;
    if (at + V <= count) {
      const Floats<V> first = load<V>(a + at), second = load<V>(b + at);
      Floats<V> out;
      for (int j = 0; j < V; ++j) out.v[j] = f(first.v[j], second.v[j]);
      store<V>(y + at, out);
    } else {
      for (int64_t j = at; j < count; ++j) y[j] = f(a[j], b[j]);
    }
  }
}

template <class F>
__global__ void __launch_bounds__(threads)
    map_naive(const float* a, const float* b, float* y, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i < count) y[i] = F()(a[i], b[i]);
}

template <class F, bool naive>
void launch_map(const ElementwiseShape& s, const void* a, const void* b, void* y, Stream stream) {
  if (s.count == 0) return;
  constexpr int64_t span = naive ? threads : threads * each;
  const bool four = aligned(a, 16) && aligned(b, 16) && aligned(y, 16);
  const auto kernel = naive ? map_naive<F> : four ? map<4, F> : map<1, F>;
  simt::launch(kernel, dim3(static_cast<unsigned>((s.count + span - 1) / span)), dim3(threads), 0,
               stream_of(stream), static_cast<const float*>(a), static_cast<const float*>(b),
               static_cast<float*>(y), s.count);
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
  if (s.type != RTFQ_F32) return "takes f32 operands only";
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
