// Fully connected layer: forward, data gradient, weight and bias gradient, as the formulas of
// kernels/linear.h read. Blocks have 128 threads.
//
// "warps", forward: a warp takes 4 rows by 4 outputs, a lane every 32nd channel of their sums, so that both
// operands are read in whole lines, each a quarter as often as there are sums; lanes' sums are added by
// halves.
//
// "naive": a thread takes one of 128 neighbouring outputs of a block, whose sum it takes alone in a
// fixed order: in f32 over channels (codes in s32), in double over the batch. The gradients have no other
// kernel: their neighbours read neighbouring channels. Floor: 2 n c k operations a pass; the operands once.
// Limits: f32, and codes forward; outputs fewer than 2^31 blocks. Not yet timed on a GPU.
#include "kernels/cuda/gpu.h"
#include "kernels/cuda/vendor/entries.h"
#include "kernels/linear.h"

namespace rtfq::kernels {
namespace RTFQ_GPU {
namespace {

constexpr int threads = 128;

__device__ __forceinline__ int64_t this_thread() {
  return static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
}

__global__ void __launch_bounds__(threads)
    forward(LinearShape s, const float* x, const float* w, const float* bias, float* y) {
  const int64_t i = this_thread();
  if (i >= s.n * s.k) return;
  const float* from = x + i / s.k * s.c;
  const float* filter = w + i % s.k * s.c_parent;
  float sum = bias ? bias[i % s.k] : 0.0f;
  for (int64_t c = 0; c < s.c; ++c) sum = __fmaf_rn(from[c], filter[c], sum);
  y[i] = sum;
}

/// Codes: the sum is exact in s32; the product with the scale and the addition of the bias round once each.
template <class X>
__global__ void __launch_bounds__(threads) forward_codes(LinearShape s, const X* x, const int8_t* w,
                                                         const float* scale, const float* bias, float* y) {
  const int64_t i = this_thread();
  if (i >= s.n * s.k) return;
  const int64_t k = i % s.k;
  const X* from = x + i / s.k * s.c;
  const int8_t* filter = w + k * s.c_parent;
  int sum = 0;
  for (int64_t c = 0; c < s.c; ++c) sum += static_cast<int>(from[c]) * static_cast<int>(filter[c]);
  const float scaled = scale[k] * static_cast<float>(sum);
  y[i] = bias ? scaled + bias[k] : scaled;
}

__global__ void __launch_bounds__(threads) dgrad(LinearShape s, const float* g, const float* w, float* dx) {
  const int64_t i = this_thread();
  if (i >= s.n * s.c) return;
  const float* from = g + i / s.c * s.k;
  float sum = 0;
  for (int64_t k = 0; k < s.k; ++k) sum = __fmaf_rn(from[k], w[k * s.c_parent + i % s.c], sum);
  dx[i] = sum;
}

/// Outputs are the weights' gradients, then the biases'.
__global__ void __launch_bounds__(threads)
    wgrad(LinearShape s, const float* x, const float* g, float* dw, float* dbias, bool accumulate) {
  const int64_t i = this_thread();
  const bool weight = i < s.k * s.c;
  if (i >= s.k * s.c + (dbias ? s.k : 0)) return;
  const int64_t k = weight ? i / s.c : i - s.k * s.c, c = i % s.c;
  double sum = 0;
  for (int64_t n = 0; n < s.n; ++n)
    sum += static_cast<double>(g[n * s.k + k]) * (weight ? static_cast<double>(x[n * s.c + c]) : 1.0);
  float* to = weight ? dw + k * s.c_parent + c : dbias + k;
  *to = static_cast<float>(accumulate ? static_cast<double>(*to) + sum : sum);
}

/// One product more. Codes add up in s32.
__device__ __forceinline__ float multiply_add(float x, float w, float sum) {
  return __fmaf_rn(x, w, sum);
}
template <class X>
__device__ __forceinline__ int multiply_add(X x, int8_t w, int sum) {
  return sum + static_cast<int>(x) * static_cast<int>(w);
}

/// A warp takes `side` rows by `side` outputs, a lane every 32nd channel of their sums; the lanes' sums are
/// added by halves.
constexpr int side = 4;

template <class X, class W, class Sum>
__global__ void __launch_bounds__(threads)
    forward_warps(LinearShape s, const X* __restrict__ x, const W* __restrict__ w,
                  const float* __restrict__ scale, const float* __restrict__ bias, float* __restrict__ y) {
  const int64_t warp = this_thread() / 32, across = (s.k + side - 1) / side;
  const int64_t n0 = warp / across * side, k0 = warp % across * side;
  const int lane = static_cast<int>(threadIdx.x) & 31;
  if (n0 >= s.n) return;
  // Beyond the last row and output: the last one again, which is not stored.
  const X* from[side];
  const W* filter[side];
#pragma unroll
  for (int i = 0; i < side; ++i) {
    from[i] = x + (n0 + i < s.n ? n0 + i : s.n - 1) * s.c;
    filter[i] = w + (k0 + i < s.k ? k0 + i : s.k - 1) * s.c_parent;
  }
  Sum sum[side][side] = {};
#pragma unroll 2
  for (int64_t c = lane; c < s.c; c += 32) {
    X own_x[side];
    W own_w[side];
#pragma unroll
    for (int i = 0; i < side; ++i) own_x[i] = from[i][c];
#pragma unroll
    for (int i = 0; i < side; ++i) own_w[i] = filter[i][c];
#pragma unroll
    for (int i = 0; i < side; ++i)
#pragma unroll
      for (int j = 0; j < side; ++j) sum[i][j] = multiply_add(own_x[i], own_w[j], sum[i][j]);
  }
#pragma unroll
  for (int i = 0; i < side; ++i)
#pragma unroll
    for (int j = 0; j < side; ++j) {
#pragma unroll
      for (int half = 16; half > 0; half /= 2) sum[i][j] += __shfl_xor_sync(~0u, sum[i][j], half);
      if (lane != i * side + j || n0 + i >= s.n || k0 + j >= s.k) continue;
      float out = static_cast<float>(sum[i][j]);
      if constexpr (std::is_same_v<W, int8_t>) out = scale[k0 + j] * out;
      y[(n0 + i) * s.k + k0 + j] = bias ? out + bias[k0 + j] : out;
    }
}

template <class X, class W, class Sum>
void launch_warps(const LinearShape& s, const LinearForwardArgs& a, Stream stream) {
  const int64_t warps = (s.n + side - 1) / side * ((s.k + side - 1) / side);
  simt::launch(forward_warps<X, W, Sum>, dim3(static_cast<unsigned>((warps * 32 + threads - 1) / threads)),
               dim3(threads), 0, stream_of(stream), s, static_cast<const X*>(a.x), static_cast<const W*>(a.w),
               a.scale, a.bias, static_cast<float*>(a.y));
}
void launch_forward_warps(const LinearShape& s, const LinearForwardArgs& a, Stream stream) {
  if (s.x_type == RTFQ_U8) return launch_warps<uint8_t, int8_t, int>(s, a, stream);
  if (s.x_type == RTFQ_S8) return launch_warps<int8_t, int8_t, int>(s, a, stream);
  launch_warps<float, float, float>(s, a, stream);
}

dim3 blocks_for(int64_t outputs) {
  return dim3(static_cast<unsigned>((outputs + threads - 1) / threads));
}

template <class X>
void launch_codes(const LinearShape& s, const LinearForwardArgs& a, Stream stream) {
  simt::launch(forward_codes<X>, blocks_for(s.n * s.k), dim3(threads), 0, stream_of(stream), s,
               static_cast<const X*>(a.x), static_cast<const int8_t*>(a.w), a.scale, a.bias,
               static_cast<float*>(a.y));
}
void launch_forward(const LinearShape& s, const LinearForwardArgs& a, Stream stream) {
  if (s.x_type == RTFQ_U8) return launch_codes<uint8_t>(s, a, stream);
  if (s.x_type == RTFQ_S8) return launch_codes<int8_t>(s, a, stream);
  simt::launch(forward, blocks_for(s.n * s.k), dim3(threads), 0, stream_of(stream), s,
               static_cast<const float*>(a.x), static_cast<const float*>(a.w), a.bias,
               static_cast<float*>(a.y));
}
void launch_dgrad(const LinearShape& s, const LinearDgradArgs& a, Stream stream) {
  simt::launch(dgrad, blocks_for(s.n * s.c), dim3(threads), 0, stream_of(stream), s,
               static_cast<const float*>(a.g), static_cast<const float*>(a.w), static_cast<float*>(a.dx));
}
void launch_wgrad(const LinearShape& s, const LinearWgradArgs& a, Stream stream) {
  simt::launch(wgrad, blocks_for(s.k * (s.c + 1)), dim3(threads), 0, stream_of(stream), s,
               static_cast<const float*>(a.x), static_cast<const float*>(a.g), a.dw, a.dbias, a.accumulate);
}

const char* forward_unsupported(const LinearShape& s) {
  return all_f32(s) || on_codes(s) ? nullptr : "takes f32 operands, or codes with s8 weights";
}
const char* gradient_unsupported(const LinearShape& s) {
  return all_f32(s) ? nullptr : "takes f32 operands only";
}

}  // namespace
}  // namespace RTFQ_GPU

std::span<const LinearForward::Impl> LinearForward::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"warps", RTFQ_GPU::forward_unsupported, RTFQ_GPU::launch_forward_warps},
                                  {"naive", RTFQ_GPU::forward_unsupported, RTFQ_GPU::launch_forward},
                                  RTFQ_VENDOR_ENTRIES(vendor::linear_by_blas<LinearForward>())};
  return list;
}
std::span<const LinearDgrad::Impl> LinearDgrad::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"naive", RTFQ_GPU::gradient_unsupported, RTFQ_GPU::launch_dgrad},
                                  RTFQ_VENDOR_ENTRIES(vendor::linear_by_blas<LinearDgrad>())};
  return list;
}
std::span<const LinearWgrad::Impl> LinearWgrad::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"naive", RTFQ_GPU::gradient_unsupported, RTFQ_GPU::launch_wgrad},
                                  RTFQ_VENDOR_ENTRIES(vendor::linear_by_blas<LinearWgrad>())};
  return list;
}

}  // namespace rtfq::kernels
