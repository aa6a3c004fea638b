// Fake-quant as the formulas of kernels/fakequant.h read. A thread takes one element, or, for sums, all
// elements of one step size, one after the other. For comparison, not for speed. Blocks have 128 threads.
// Floor: as in fakequant_forward.cu and fakequant_backward.cu; the gradient here reads g and x twice. Takes
// every shape of fewer than 2^31 blocks.
#include "kernels/cuda/fakequant.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

constexpr int threads = 128;

unsigned blocks_for(int64_t n) {
  return static_cast<unsigned>((n + threads - 1) / threads);
}

__device__ __forceinline__ int64_t this_thread() {
  return static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
}

/// Offset in x of the dense element i.
__device__ __forceinline__ int64_t offset(const FakeQuantShape& s, int64_t i) {
  const int64_t line = i / s.cols;
  return line / s.groups * s.row_stride + line % s.groups * s.group_stride + i % s.cols;
}

__device__ __forceinline__ float step_of(const FakeQuantShape& s, const float* step, int64_t i) {
  return step[s.per_row ? i / (s.groups * s.cols) : 0];
}

template <class T>
__device__ __forceinline__ float at(const T* p, int64_t i) {
  return load<1>(p + i).v[0];
}
template <class T>
__device__ __forceinline__ void put_at(T* p, int64_t i, float value) {
  store<1>(p + i, Floats<1>{{value}});
}

template <class T>
__global__ void __launch_bounds__(threads)
    forward_naive(FakeQuantShape s, const T* x, const float* step, T* y, uint8_t* codes) {
  const int64_t i = this_thread();
  if (i >= s.rows * s.groups * s.cols) return;
  const float own_step = step_of(s, step, i), v = at(x, offset(s, i)) * __frcp_rn(own_step);
  int code = -s.qn;
  if (v > static_cast<float>(-s.qn)) code = v >= static_cast<float>(s.qp) ? s.qp : __float2int_rn(v);
  if (y) put_at(y, i, code == 0 ? 0.0f : static_cast<float>(code) * own_step);
  if (codes) codes[i] = static_cast<uint8_t>(code);
}

template <class T>
__global__ void __launch_bounds__(threads)
    gradient_naive(FakeQuantShape s, const T* g, const T* x, const float* step, T* dx, bool accumulate) {
  const int64_t i = this_thread();
  if (i >= s.rows * s.groups * s.cols) return;
  const int64_t place = offset(s, i);
  const float v = at(x, place) * __frcp_rn(step_of(s, step, i));
  const float passed = v > static_cast<float>(-s.qn) && v < static_cast<float>(s.qp) ? at(g, i) : 0.0f;
  put_at(dx, place, accumulate ? at(dx, place) + passed : passed);
}

template <class T>
__global__ void __launch_bounds__(threads)
    step_gradient_naive(FakeQuantShape s, const T* g, const T* x, const float* step, float* ds,
                        float grad_scale) {
  const int64_t which = this_thread(), steps = s.per_row ? s.rows : 1;
  if (which >= steps) return;
  const int64_t each = s.rows * s.groups * s.cols / steps;
  const float r = __frcp_rn(step[which]), low = static_cast<float>(-s.qn), high = static_cast<float>(s.qp);
  double sum = 0;
  for (int64_t i = which * each; i < (which + 1) * each; ++i) {
    const float v = at(x, offset(s, i)) * r;
    const float t = !(v > low) ? low : v >= high ? high : rintf(v) - v;
    sum += static_cast<double>(at(g, i)) * static_cast<double>(t);
  }
  ds[which] += static_cast<float>(sum * static_cast<double>(grad_scale));
}

template <class T>
__global__ void __launch_bounds__(threads) sum_naive(FakeQuantShape s, const T* x, float* out) {
  const int64_t which = this_thread(), steps = s.per_row ? s.rows : 1;
  if (which >= steps) return;
  const int64_t each = s.rows * s.groups * s.cols / steps;
  double sum = 0;
  for (int64_t i = which * each; i < (which + 1) * each; ++i) {
    const float value = at(x, offset(s, i));
    sum += static_cast<double>(s.qn == 0 ? (value < 0.0f ? 0.0f : value) : fabsf(value));
  }
  out[which] = static_cast<float>(sum);
}

template <class T>
void forward_as(const FakeQuantShape& s, const FakeQuantForwardArgs& a, Stream stream) {
  simt::launch(forward_naive<T>, dim3(blocks_for(count(s))), dim3(threads), 0, stream_of(stream), s,
               static_cast<const T*>(a.x), a.step, static_cast<T*>(a.y), static_cast<uint8_t*>(a.codes));
}

template <class T>
void backward_as(const FakeQuantShape& s, const FakeQuantBackwardArgs& a, Stream stream) {
  const auto* g = static_cast<const T*>(a.g);
  const auto* x = static_cast<const T*>(a.x);
  if (a.ds)
    simt::launch(step_gradient_naive<T>, dim3(blocks_for(steps(s))), dim3(threads), 0, stream_of(stream), s,
                 g, x, a.step, a.ds, a.grad_scale);
  if (a.dx)
    simt::launch(gradient_naive<T>, dim3(blocks_for(count(s))), dim3(threads), 0, stream_of(stream), s, g, x,
                 a.step, static_cast<T*>(a.dx), a.accumulate_dx);
}

template <class T>
void sum_as(const FakeQuantShape& s, const AbsSumArgs& a, Stream stream) {
  simt::launch(sum_naive<T>, dim3(blocks_for(steps(s))), dim3(threads), 0, stream_of(stream), s,
               static_cast<const T*>(a.x), a.out);
}

}  // namespace

void fakequant_forward_naive(const FakeQuantShape& s, const FakeQuantForwardArgs& a, Stream stream) {
  with_element(s, [&](auto one) { forward_as<decltype(one)>(s, a, stream); });
}
void fakequant_backward_naive(const FakeQuantShape& s, const FakeQuantBackwardArgs& a, Stream stream) {
  with_element(s, [&](auto one) { backward_as<decltype(one)>(s, a, stream); });
}
void abs_sum_naive(const FakeQuantShape& s, const AbsSumArgs& a, Stream stream) {
  with_element(s, [&](auto one) { sum_as<decltype(one)>(s, a, stream); });
}

}  // namespace rtfq::kernels::RTFQ_GPU
