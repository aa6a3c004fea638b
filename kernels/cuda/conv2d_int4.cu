// Convolution of 8-bit codes with weights of 4 bits, from sm_80 on: u8 or s8 by s4, sums exact in s32, y =
// scale[k] * f32(sum) rounded once, or the sum. The weights are read in place, in the parent's strides.
//
// mma: blocks and tiles as in conv2d_mma.h; weights are unpacked to bytes on their way to shared memory, for
// Hopper's tensor cores multiply no 4 bits. naive: a thread takes one output, a block 128 neighbouring ones.
// Floor: a byte an element of x, half of one of the weights, 2 or 4 of y, 2 n p q k r s c operations. Limits
// of mma: input channels of the slice and of its parent that are multiples of 16, output channels of 8;
// filters of at most 8x8; operands of at most 2^30 elements; of naive: fewer than 2^31 blocks. Shared memory:
// 96, 72 or 48 KB. Not yet timed on a GPU.
#include "kernels/cuda/conv2d_mma.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

constexpr int naive_threads = 128;

template <class X, class Y>
__global__ void __launch_bounds__(naive_threads)
    convolve(Conv2dShape z, int64_t p, int64_t q, const X* __restrict__ x,
             const uint8_t* __restrict__ weights, const float* __restrict__ scale, Y* __restrict__ y) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * naive_threads + threadIdx.x;
  if (at >= z.n * p * q * z.k) return;
  const int64_t k = at % z.k, pixel = at / z.k, image = pixel / q / p;
  const int64_t line_bytes = (z.c_parent + 1) / 2;
  int sum = 0;
  for (int64_t r = 0; r < z.r; ++r)
    for (int64_t s = 0; s < z.s; ++s) {
      const int64_t h = pixel / q % p * z.stride - z.pad + r, w = pixel % q * z.stride - z.pad + s;
      if (h < 0 || h >= z.h || w < 0 || w >= z.w) continue;
      const X* from = x + ((image * z.h + h) * z.w + w) * z.c;
      const uint8_t* filter = weights + ((k * z.r + r) * z.s + s) * line_bytes;
      for (int64_t c = 0; c < z.c; ++c)
        sum += static_cast<int>(from[c]) * (static_cast<int>((filter[c / 2] >> (c % 2 * 4) & 15u) ^ 8u) - 8);
    }
  if constexpr (std::is_same_v<Y, int32_t>)
    y[at] = sum;
  else
    store<1>(y + at, Floats<1>{{scale[k] * static_cast<float>(sum)}});
}

template <class X, class Y>
void launch_naive(const Conv2dShape& s, const Conv2dInt4Args& a, Stream stream) {
  const int64_t p = output_height(s), q = output_width(s), outputs = s.n * p * q * s.k;
  simt::launch(convolve<X, Y>, dim3(static_cast<unsigned>((outputs + naive_threads - 1) / naive_threads)),
               dim3(naive_threads), 0, stream_of(stream), s, p, q, static_cast<const X*>(a.x),
               static_cast<const uint8_t*>(a.weights), a.scale, static_cast<Y*>(a.y));
}

template <class X>
void launch_naive(const Conv2dShape& s, const Conv2dInt4Args& a, Stream stream) {
  s.y_type == RTFQ_F32    ? launch_naive<X, float>(s, a, stream)
  : s.y_type == RTFQ_BF16 ? launch_naive<X, bf16>(s, a, stream)
                          : launch_naive<X, int32_t>(s, a, stream);
}

}  // namespace

const char* conv2d_int4_naive_unsupported(const Conv2dShape& s) {
  if (const char* reason = unsupported_codes(Conv2dInt4{}, s)) return reason;
  return s.n * output_height(s) * output_width(s) * s.k / naive_threads < INT32_MAX
             ? nullptr
             : "takes fewer than 2^31 blocks of 128 outputs";
}
void conv2d_int4_naive(const Conv2dShape& s, const Conv2dInt4Args& a, Stream stream) {
  s.x_type == RTFQ_U8 ? launch_naive<uint8_t>(s, a, stream) : launch_naive<int8_t>(s, a, stream);
}

const char* conv2d_int4_mma_unsupported(const Conv2dShape& s) {
  if (const char* reason = unsupported_codes(Conv2dInt4{}, s)) return reason;
  if (s.c_parent % 16) return "takes parents of input channels in multiples of 16";
  return product_unsupported(s, s.c, 1, s.k);
}
template <ConvTile tile>
void conv2d_int4_mma(const Conv2dShape& s, const Conv2dInt4Args& a, Stream stream) {
  const ConvProduct z = forward_product(s, s.c_parent);
  if (s.x_type == RTFQ_U8)
    conv2d_mma<Int4Product<U8Product>>(tile, z, a.x, a.weights, a.scale, s.y_type, a.y, stream);
  else
    conv2d_mma<Int4Product<S8Product>>(tile, z, a.x, a.weights, a.scale, s.y_type, a.y, stream);
}
template void conv2d_int4_mma<ConvTile::by_cost>(const Conv2dShape&, const Conv2dInt4Args&, Stream);
template void conv2d_int4_mma<ConvTile::large>(const Conv2dShape&, const Conv2dInt4Args&, Stream);
template void conv2d_int4_mma<ConvTile::wide>(const Conv2dShape&, const Conv2dInt4Args&, Stream);
template void conv2d_int4_mma<ConvTile::small>(const Conv2dShape&, const Conv2dInt4Args&, Stream);

}  // namespace rtfq::kernels::RTFQ_GPU
