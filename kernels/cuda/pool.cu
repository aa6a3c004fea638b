// Max pooling and global average pooling, forward and backward.
//
// A block of 256 threads takes 256 neighbouring outputs, a thread one; channels are innermost, so a warp's
// accesses are neighbours. The gradient of the maximum gathers: each input asks the few windows that cover it
// whether it was theirs, so nothing is zeroed first and no two threads add to one place. Averages sum in
// double: one partial sum keeps the digits. Floor: each operand once; a window overlaps its neighbours in the
// cache. Bound by memory. Limits: f32; fewer than 2^31 blocks. Not yet timed on a GPU.
#include "kernels/cuda/gpu.h"
#include "kernels/pool.h"

namespace rtfq::kernels {
namespace RTFQ_GPU {
namespace {

constexpr int threads = 256;

__device__ __forceinline__ int64_t this_thread() {
  return static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
}

/// What a launch works on: [n, height, width, c] of its outputs.
struct Outputs {
  int64_t n, h, w, c;
  __host__ __device__ int64_t count() const { return n * h * w * c; }
};

/// A NaN wins and then only gives way to another one.
__global__ void __launch_bounds__(threads) max_forward(PoolShape s, Outputs out, const float* __restrict__ x,
                                                       float* __restrict__ y, uint8_t* __restrict__ index) {
  const int64_t i = this_thread();
  if (i >= out.count()) return;
  const int64_t c = i % out.c, q = i / out.c % out.w, p = i / out.c / out.w % out.h,
                n = i / out.c / out.w / out.h;
  float best = 0;
  int place = -1;
  for (int64_t r = 0; r < s.window; ++r)
    for (int64_t t = 0; t < s.window; ++t) {
      const int64_t h = p * s.stride - s.pad + r, w = q * s.stride - s.pad + t;
      if (h < 0 || h >= s.h || w < 0 || w >= s.w) continue;
      const float value = x[((n * s.h + h) * s.w + w) * s.c + c];
      if (place >= 0 && !(value > best) && value == value) continue;
      best = value;
      place = static_cast<int>(r * s.window + t);
    }
  y[i] = best;
  if (index) index[i] = static_cast<uint8_t>(place);
}

__global__ void __launch_bounds__(threads)
    max_backward(PoolShape s, Outputs out, const float* __restrict__ g, const uint8_t* __restrict__ index,
                 float* __restrict__ dx) {
  const int64_t i = this_thread();
  if (i >= s.n * s.h * s.w * s.c) return;
  const int64_t pixel = i / s.c, c = i % s.c, row = pixel / s.w, n = row / s.h;
  // 32 bits: a 64-bit division is a call around which registers would spill.
  const int w = static_cast<int>(pixel % s.w), h = static_cast<int>(row % s.h);
  const int window = static_cast<int>(s.window), stride = static_cast<int>(s.stride),
            pad = static_cast<int>(s.pad);
  const int rows = static_cast<int>(out.h), columns = static_cast<int>(out.w);
  float sum = 0;
  for (int r = window - 1; r >= 0; --r) {  // windows in ascending order
    const int from_h = h + pad - r;
    if (from_h < 0 || from_h % stride || from_h / stride >= rows) continue;
    for (int t = window - 1; t >= 0; --t) {
      const int from_w = w + pad - t;
      if (from_w < 0 || from_w % stride || from_w / stride >= columns) continue;
      const int64_t at = ((n * rows + from_h / stride) * columns + from_w / stride) * s.c + c;
      if (index[at] == r * window + t) sum += g[at];
    }
  }
  dx[i] = sum;
}

__global__ void __launch_bounds__(threads)
    average_forward(PoolShape s, const float* __restrict__ x, float* __restrict__ y) {
  const int64_t i = this_thread();
  if (i >= s.n * s.c) return;
  const int64_t pixels = s.h * s.w;
  const float* from = x + i / s.c * pixels * s.c + i % s.c;
  double sum = 0;
  for (int64_t pixel = 0; pixel < pixels; ++pixel) sum += static_cast<double>(from[pixel * s.c]);
  y[i] = static_cast<float>(sum / static_cast<double>(pixels));
}

__global__ void __launch_bounds__(threads)
    average_backward(PoolShape s, const float* __restrict__ g, float* __restrict__ dx) {
  const int64_t i = this_thread(), pixels = s.h * s.w;
  if (i >= s.n * pixels * s.c) return;
  dx[i] = __fdiv_rn(g[i / (pixels * s.c) * s.c + i % s.c], static_cast<float>(pixels));
}

dim3 blocks_for(int64_t outputs) {
  return dim3(static_cast<unsigned>((outputs + threads - 1) / threads));
}

void launch_max_forward(const PoolShape& s, const MaxPoolForwardArgs& a, Stream stream) {
  const Outputs out{s.n, output_height(s), output_width(s), s.c};
  simt::launch(max_forward, blocks_for(out.count()), dim3(threads), 0, stream_of(stream), s, out,
               static_cast<const float*>(a.x), static_cast<float*>(a.y), a.index);
}
void launch_max_backward(const PoolShape& s, const MaxPoolBackwardArgs& a, Stream stream) {
  const Outputs out{s.n, output_height(s), output_width(s), s.c};
  simt::launch(max_backward, blocks_for(s.n * s.h * s.w * s.c), dim3(threads), 0, stream_of(stream), s, out,
               static_cast<const float*>(a.g), a.index, static_cast<float*>(a.dx));
}
void launch_average_forward(const PoolShape& s, const AveragePoolForwardArgs& a, Stream stream) {
  simt::launch(average_forward, blocks_for(s.n * s.c), dim3(threads), 0, stream_of(stream), s,
               static_cast<const float*>(a.x), static_cast<float*>(a.y));
}
void launch_average_backward(const PoolShape& s, const AveragePoolBackwardArgs& a, Stream stream) {
  simt::launch(average_backward, blocks_for(s.n * s.h * s.w * s.c), dim3(threads), 0, stream_of(stream), s,
               static_cast<const float*>(a.g), static_cast<float*>(a.dx));
}

const char* pool_unsupported(const PoolShape& s) {
  if (s.type != RTFQ_F32) return "takes f32 operands only";
  if (s.h >= INT32_MAX / 2 || s.w >= INT32_MAX / 2) return "takes fewer than 2^30 rows and columns";
  return s.n * s.h * s.w * s.c / threads < INT32_MAX ? nullptr : "takes fewer than 2^31 blocks";
}

}  // namespace
}  // namespace RTFQ_GPU

std::span<const MaxPoolForward::Impl> MaxPoolForward::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"naive", RTFQ_GPU::pool_unsupported, RTFQ_GPU::launch_max_forward}};
  return list;
}
std::span<const MaxPoolBackward::Impl> MaxPoolBackward::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"naive", RTFQ_GPU::pool_unsupported, RTFQ_GPU::launch_max_backward}};
  return list;
}
std::span<const AveragePoolForward::Impl> AveragePoolForward::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"naive", RTFQ_GPU::pool_unsupported, RTFQ_GPU::launch_average_forward}};
  return list;
}
std::span<const AveragePoolBackward::Impl> AveragePoolBackward::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"naive", RTFQ_GPU::pool_unsupported, RTFQ_GPU::launch_average_backward}};
  return list;
}

}  // namespace rtfq::kernels
