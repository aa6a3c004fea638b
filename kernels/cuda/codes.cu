// What codes stand for, and the factors of a product of codes.
//
// A block of 256 threads takes 256 neighbouring elements, a thread one. Floor: 5 bytes an element of
// dequantize, 8 of a product. The tensors are small (pooled features, one factor a channel), so that a launch
// takes longer than its work. Limits: fewer than 2^31 blocks. Not yet timed on a GPU.
#include "kernels/codes.h"
#include "kernels/cuda/gpu.h"

namespace rtfq::kernels {
namespace RTFQ_GPU {
namespace {

constexpr int threads = 256;

template <class T>
__global__ void __launch_bounds__(threads) dequantize(DequantizeShape s, const T* __restrict__ codes,
                                                      const float* __restrict__ step, float* __restrict__ y) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i < s.rows * s.inner) y[i] = step[s.rows == 1 ? 0 : i / s.inner] * static_cast<float>(codes[i]);
}

__global__ void __launch_bounds__(threads)
    scale_product(ScaleProductShape s, const float* a, const float* b, float* out) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i < s.count) out[i] = a[0] * b[s.single ? 0 : i];
}

dim3 blocks_for(int64_t count) {
  return dim3(static_cast<unsigned>((count + threads - 1) / threads));
}

template <class T>
void dequantize_of(const DequantizeShape& s, const DequantizeArgs& a, Stream stream) {
  simt::launch(dequantize<T>, blocks_for(s.rows * s.inner), dim3(threads), 0, stream_of(stream), s,
               static_cast<const T*>(a.codes), a.step, a.y);
}

void launch_dequantize(const DequantizeShape& s, const DequantizeArgs& a, Stream stream) {
  if (s.inner == 0) return;
  s.type == RTFQ_U8 ? dequantize_of<uint8_t>(s, a, stream) : dequantize_of<int8_t>(s, a, stream);
}

void launch_scale_product(const ScaleProductShape& s, const ScaleProductArgs& a, Stream stream) {
  if (s.count == 0) return;
  simt::launch(scale_product, blocks_for(s.count), dim3(threads), 0, stream_of(stream), s, a.a, a.b, a.out);
}

const char* dequantize_unsupported(const DequantizeShape& s) {
  return s.rows * s.inner / threads < INT32_MAX ? nullptr : "takes fewer than 2^31 blocks";
}

}  // namespace
}  // namespace RTFQ_GPU

std::span<const Dequantize::Impl> Dequantize::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"naive", RTFQ_GPU::dequantize_unsupported, RTFQ_GPU::launch_dequantize}};
  return list;
}
std::span<const ScaleProduct::Impl> ScaleProduct::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, RTFQ_GPU::launch_scale_product}};
  return list;
}

}  // namespace rtfq::kernels
