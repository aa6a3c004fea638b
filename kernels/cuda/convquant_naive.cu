// The fused convolution as its formulas read. A thread takes one output, a block 128 neighbouring ones, whose
// sums it takes alone, exactly, and finishes as convquant.h does. Floor: as in convquant_mma.cu. Limits:
// fewer than 2^31 blocks. Not yet timed on a GPU.
#include "kernels/cuda/convquant.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

constexpr int threads = 128;

template <class X>
__global__ void __launch_bounds__(threads)
    naive(const __grid_constant__ Conv2dShape z, int64_t p_count, int64_t q_count,
          const __grid_constant__ QuantizeSums finish) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i >= z.n * p_count * q_count * z.k) return;
  const int64_t k = i % z.k, pixel = i / z.k, q = pixel % q_count, p = pixel / q_count % p_count,
                n = pixel / q_count / p_count;
  const X* x = static_cast<const X*>(finish.a.x);
  const int8_t* filter = static_cast<const int8_t*>(finish.a.packed) + k * z.r * z.s * z.c_parent;
  int sum[1] = {0};
  for (int64_t r = 0; r < z.r; ++r) {
    const int64_t h = p * z.stride - z.pad + r;
    if (h < 0 || h >= z.h) continue;
    for (int64_t s = 0; s < z.s; ++s) {
      const int64_t w = q * z.stride - z.pad + s;
      if (w < 0 || w >= z.w) continue;
      const X* from = x + ((n * z.h + h) * z.w + w) * z.c;
      const int8_t* weights = filter + (r * z.s + s) * z.c_parent;
      for (int64_t c = 0; c < z.c; ++c) sum[0] += static_cast<int>(from[c]) * static_cast<int>(weights[c]);
    }
  }
  QuantizeSums::Channels<1> own(finish);
  own.channels(static_cast<int>(k));
  own.store(i, sum);
}

}  // namespace

void convquant_naive(const ConvQuantShape& s, const ConvQuantArgs& a, Stream stream) {
  const int64_t p = output_height(s.conv), q = output_width(s.conv), count = s.conv.n * p * q * s.conv.k;
  const auto blocks = static_cast<unsigned>((count + threads - 1) / threads);
  simt::launch(s.conv.x_type == RTFQ_U8 ? naive<uint8_t> : naive<int8_t>, dim3(blocks), dim3(threads), 0,
               stream_of(stream), s.conv, p, q, QuantizeSums(s, a));
}

}  // namespace rtfq::kernels::RTFQ_GPU
