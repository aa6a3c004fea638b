// The three sums of convolution as kernels/shapes.h writes them, for every row of types of kernels/conv2d.h.
//
// A block of 32 x 4 threads takes 32 neighbouring channels of 4 neighbouring pixels (of 4 filter taps in the
// weight gradient), a thread one sum, alone and in a fixed order: in f32 over taps and channels (codes in
// s32), in double over the batch. The weights are read in place, in the parent's strides, and rounded to bf16
// beside bf16 activations. For comparison and for whole networks on the executor, not for speed. Floor: each
// operand once, 2 n p q k r s c operations. Limits: fewer than 2^31 pixels, and taps of all filters; 2^21
// channels. Not yet timed on a GPU.
#include "kernels/bf16.h"
#include "kernels/cuda/conv2d.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

constexpr int lanes = 32, rows = 4;

__device__ __forceinline__ float number(float x) {
  return x;
}
__device__ __forceinline__ float number(bf16 x) {
  return __uint_as_float(uint32_t{x.bits} << 16);
}
__device__ __forceinline__ float number(uint8_t x) {
  return static_cast<float>(x);
}
__device__ __forceinline__ float number(int8_t x) {
  return static_cast<float>(x);
}

/// The nearest bf16, ties to even.
__device__ __forceinline__ bf16 nearest_bf16(float x) {
  const unsigned bits = __float_as_uint(x);
  if (x != x) return {static_cast<uint16_t>(bits >> 16 | 0x40)};
  return {static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
__device__ __forceinline__ void put(float* to, float x) {
  *to = x;
}
__device__ __forceinline__ void put(bf16* to, float x) {
  *to = nearest_bf16(x);
}

/// A weight as the product sees it.
template <class X>
__device__ __forceinline__ float weight(float w) {
  if constexpr (std::is_same_v<X, bf16>) return number(nearest_bf16(w));
  return w;
}

/// The shape in 32 bits: a 64-bit division is a call.
struct Extents {
  int n, h, w, c, k, r, s, stride, pad, c_parent, p, q;
};

Extents extents_of(const Conv2dShape& z) {
  const auto i = [](int64_t x) { return static_cast<int>(x); };
  return {i(z.n),
          i(z.h),
          i(z.w),
          i(z.c),
          i(z.k),
          i(z.r),
          i(z.s),
          i(z.stride),
          i(z.pad),
          i(z.c_parent),
          i(output_height(z)),
          i(output_width(z))};
}

__device__ __forceinline__ int64_t pixel(int n, int height, int width, int h, int w) {
  return (int64_t{n} * height + h) * width + w;
}

/// A block's place along the grid's axes: x counts pixels or taps, y channels.
__device__ __forceinline__ int this_row() {
  return static_cast<int>(blockIdx.x * rows + threadIdx.y);
}
__device__ __forceinline__ int this_channel() {
  return static_cast<int>(blockIdx.y * lanes + threadIdx.x);
}

template <class X, class W, class Y>
__global__ void __launch_bounds__(lanes* rows)
    forward(Extents z, const X* __restrict__ x, const W* __restrict__ weights,
            const float* __restrict__ scale, Y* __restrict__ y) {
  constexpr bool codes = std::is_same_v<W, int8_t>;
  const int row = this_row(), k = this_channel();
  if (row >= z.n * z.p * z.q || k >= z.k) return;
  const int q = row % z.q, p = row / z.q % z.p, n = row / z.q / z.p;
  std::conditional_t<codes, int, float> sum = 0;
  for (int r = 0; r < z.r; ++r) {
    const int h = p * z.stride - z.pad + r;
    if (h < 0 || h >= z.h) continue;
    for (int s = 0; s < z.s; ++s) {
      const int w = q * z.stride - z.pad + s;
      if (w < 0 || w >= z.w) continue;
      const X* from = x + pixel(n, z.h, z.w, h, w) * z.c;
      const W* filter = weights + ((int64_t{k} * z.r + r) * z.s + s) * z.c_parent;
      for (int c = 0; c < z.c; ++c)
        if constexpr (codes)
          sum += static_cast<int>(from[c]) * static_cast<int>(filter[c]);
        else
          sum = __fmaf_rn(number(from[c]), weight<X>(filter[c]), sum);
    }
  }
  Y* to = y + int64_t{row} * z.k + k;
  if constexpr (!codes)
    put(to, sum);
  else if constexpr (std::is_same_v<Y, int32_t>)
    *to = sum;
  else
    put(to, scale[k] * static_cast<float>(sum));
}

template <class T>
__global__ void __launch_bounds__(lanes* rows)
    dgrad(Extents z, const T* __restrict__ g, const float* __restrict__ weights, T* __restrict__ dx) {
  const int row = this_row(), c = this_channel();
  if (row >= z.n * z.h * z.w || c >= z.c) return;
  const int w = row % z.w, h = row / z.w % z.h, n = row / z.w / z.h;
  float sum = 0;
  for (int r = 0; r < z.r; ++r) {
    const int from_h = h + z.pad - r;  // p * stride
    if (from_h < 0 || from_h % z.stride || from_h / z.stride >= z.p) continue;
    for (int s = 0; s < z.s; ++s) {
      const int from_w = w + z.pad - s;
      if (from_w < 0 || from_w % z.stride || from_w / z.stride >= z.q) continue;
      const T* from = g + pixel(n, z.p, z.q, from_h / z.stride, from_w / z.stride) * z.k;
      for (int k = 0; k < z.k; ++k)
        sum = __fmaf_rn(number(from[k]),
                        weight<T>(weights[((int64_t{k} * z.r + r) * z.s + s) * z.c_parent + c]), sum);
    }
  }
  put(dx + int64_t{row} * z.c + c, sum);
}

/// Rows are the filters' taps: (k * r + r) * s + s.
template <class X, class G>
__global__ void __launch_bounds__(lanes* rows)
    wgrad(Extents z, const X* __restrict__ x, const G* __restrict__ g, const float* __restrict__ scale,
          bool accumulate, float* __restrict__ dw) {
  const int row = this_row(), c = this_channel();
  if (row >= z.k * z.r * z.s || c >= z.c) return;
  const int s = row % z.s, r = row / z.s % z.r, k = row / z.s / z.r;
  double sum = 0;
  for (int n = 0; n < z.n; ++n)
    for (int p = 0; p < z.p; ++p) {
      const int h = p * z.stride - z.pad + r;
      if (h < 0 || h >= z.h) continue;
      for (int q = 0; q < z.q; ++q) {
        const int w = q * z.stride - z.pad + s;
        if (w < 0 || w >= z.w) continue;
        sum += static_cast<double>(number(g[pixel(n, z.p, z.q, p, q) * z.k + k])) *
               static_cast<double>(number(x[pixel(n, z.h, z.w, h, w) * z.c + c]));
      }
    }
  const float scaled = (scale ? *scale : 1.0f) * static_cast<float>(sum);
  float* to = dw + int64_t{row} * z.c_parent + c;
  *to = accumulate ? *to + scaled : scaled;
}

dim3 grid_for(int64_t count, int64_t channels) {
  return dim3(static_cast<unsigned>((count + rows - 1) / rows),
              static_cast<unsigned>((channels + lanes - 1) / lanes));
}

template <class X, class W, class Y>
void launch_forward(const Conv2dShape& z, const Conv2dForwardArgs& a, Stream stream) {
  simt::launch(forward<X, W, Y>, grid_for(z.n * output_height(z) * output_width(z), z.k), dim3(lanes, rows),
               0, stream_of(stream), extents_of(z), static_cast<const X*>(a.x),
               static_cast<const W*>(a.packed), a.scale, static_cast<Y*>(a.y));
}
template <class X>
void launch_forward_codes(const Conv2dShape& z, const Conv2dForwardArgs& a, Stream stream) {
  if (z.y_type == RTFQ_F32) return launch_forward<X, int8_t, float>(z, a, stream);
  if (z.y_type == RTFQ_BF16) return launch_forward<X, int8_t, bf16>(z, a, stream);
  launch_forward<X, int8_t, int32_t>(z, a, stream);
}
template <class T>
void launch_dgrad(const Conv2dShape& z, const Conv2dDgradArgs& a, Stream stream) {
  simt::launch(dgrad<T>, grid_for(z.n * z.h * z.w, z.c), dim3(lanes, rows), 0, stream_of(stream),
               extents_of(z), static_cast<const T*>(a.g), static_cast<const float*>(a.packed),
               static_cast<T*>(a.dx));
}
template <class X, class G>
void launch_wgrad(const Conv2dShape& z, const Conv2dWgradArgs& a, Stream stream) {
  simt::launch(wgrad<X, G>, grid_for(z.k * z.r * z.s, z.c), dim3(lanes, rows), 0, stream_of(stream),
               extents_of(z), static_cast<const X*>(a.x), static_cast<const G*>(a.g), a.scale, a.accumulate,
               a.dw);
}

template <class Op>
const char* refused(const Op& op, const Conv2dShape& z) {
  if (const char* reason = unsupported_types(op, z)) return reason;
  constexpr int64_t most = INT32_MAX - 1024, channels = int64_t{1} << 20;
  if (z.n * z.h * z.w > most || z.n * output_height(z) * output_width(z) > most || z.k * z.r * z.s > most)
    return "takes fewer than 2^31 pixels, and taps of all filters";
  return z.k > channels || z.c_parent > channels ? "takes at most 2^20 channels" : nullptr;
}

}  // namespace

const char* conv2d_naive_unsupported(const Conv2dForward& op, const Conv2dShape& z) {
  return refused(op, z);
}
const char* conv2d_naive_unsupported(const Conv2dDgrad& op, const Conv2dShape& z) {
  return refused(op, z);
}
const char* conv2d_naive_unsupported(const Conv2dWgrad& op, const Conv2dShape& z) {
  return refused(op, z);
}

void conv2d_naive(const Conv2dShape& z, const Conv2dForwardArgs& a, Stream stream) {
  if (z.x_type == RTFQ_U8) return launch_forward_codes<uint8_t>(z, a, stream);
  if (z.x_type == RTFQ_S8) return launch_forward_codes<int8_t>(z, a, stream);
  if (z.x_type == RTFQ_BF16) return launch_forward<bf16, float, bf16>(z, a, stream);
  launch_forward<float, float, float>(z, a, stream);
}

void conv2d_naive(const Conv2dShape& z, const Conv2dDgradArgs& a, Stream stream) {
  z.y_type == RTFQ_BF16 ? launch_dgrad<bf16>(z, a, stream) : launch_dgrad<float>(z, a, stream);
}

void conv2d_naive(const Conv2dShape& z, const Conv2dWgradArgs& a, Stream stream) {
  const bool half = z.y_type == RTFQ_BF16;
  if (z.x_type == RTFQ_U8)
    return half ? launch_wgrad<uint8_t, bf16>(z, a, stream) : launch_wgrad<uint8_t, float>(z, a, stream);
  if (z.x_type == RTFQ_S8)
    return half ? launch_wgrad<int8_t, bf16>(z, a, stream) : launch_wgrad<int8_t, float>(z, a, stream);
  half ? launch_wgrad<bf16, bf16>(z, a, stream) : launch_wgrad<float, float>(z, a, stream);
}

}  // namespace rtfq::kernels::RTFQ_GPU
