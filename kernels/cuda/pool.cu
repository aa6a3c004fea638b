// Max pooling and global average pooling, forward and backward.
//
// A block of 256 threads takes 256 neighbouring outputs, a thread one; channels are innermost, so a warp's
// accesses are neighbours. The gradient of the maximum gathers: each input asks the few windows that cover it
// whether it was theirs, so nothing is zeroed first and no two threads add to one place. Averages sum in
// double: one partial sum keeps the digits. Floor: each operand once; a window overlaps its neighbours in the
// cache. Bound by memory. Limits: f32 and bf16, the mean of u8 codes (exact sums in 32 bits); fewer than 2^31
// blocks. Not yet timed on a GPU.
#include "kernels/cuda/values.h"
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
template <class T>
__global__ void __launch_bounds__(threads) max_forward(PoolShape s, Outputs out, const T* __restrict__ x,
                                                       T* __restrict__ y, uint8_t* __restrict__ index) {
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
      const float value = load<1>(x + ((n * s.h + h) * s.w + w) * s.c + c).v[0];
      if (place >= 0 && !(value > best) && value == value) continue;
      best = value;
      place = static_cast<int>(r * s.window + t);
    }
  store<1>(y + i, Floats<1>{{best}});
  if (index) index[i] = static_cast<uint8_t>(place);
}

template <class T>
__global__ void __launch_bounds__(threads)
    max_backward(PoolShape s, Outputs out, const T* __restrict__ g, const uint8_t* __restrict__ index,
                 T* __restrict__ dx) {
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
      if (index[at] == r * window + t) sum += load<1>(g + at).v[0];
    }
  }
  store<1>(dx + i, Floats<1>{{sum}});
}

template <class T>
__global__ void __launch_bounds__(threads)
    average_forward(PoolShape s, const T* __restrict__ x, T* __restrict__ y) {
  const int64_t i = this_thread();
  if (i >= s.n * s.c) return;
  const int64_t pixels = s.h * s.w;
  const T* from = x + i / s.c * pixels * s.c + i % s.c;
  double sum = 0;
  for (int64_t pixel = 0; pixel < pixels; ++pixel)
    sum += static_cast<double>(load<1>(from + pixel * s.c).v[0]);
  store<1>(y + i, Floats<1>{{static_cast<float>(sum / static_cast<double>(pixels))}});
}

__global__ void __launch_bounds__(threads)
    average_codes(PoolShape s, const uint8_t* __restrict__ x, const float* __restrict__ scale,
                  float* __restrict__ y) {
  const int64_t i = this_thread();
  if (i >= s.n * s.c) return;
  const int64_t pixels = s.h * s.w;
  const uint8_t* from = x + i / s.c * pixels * s.c + i % s.c;
  int32_t sum = 0;
  for (int64_t pixel = 0; pixel < pixels; ++pixel) sum += from[pixel * s.c];
  const float mean = __fdiv_rn(static_cast<float>(sum), static_cast<float>(pixels));
  y[i] = scale ? mean * scale[0] : mean;
}

template <class T>
__global__ void __launch_bounds__(threads)
    average_backward(PoolShape s, const T* __restrict__ g, T* __restrict__ dx) {
  const int64_t i = this_thread(), pixels = s.h * s.w;
  if (i >= s.n * pixels * s.c) return;
  const float sum = load<1>(g + i / (pixels * s.c) * s.c + i % s.c).v[0];
  store<1>(dx + i, Floats<1>{{__fdiv_rn(sum, static_cast<float>(pixels))}});
}

dim3 blocks_for(int64_t outputs) {
  return dim3(static_cast<unsigned>((outputs + threads - 1) / threads));
}

template <class T>
void max_forward_of(const PoolShape& s, const MaxPoolForwardArgs& a, Stream stream) {
  const Outputs out{s.n, output_height(s), output_width(s), s.c};
  simt::launch(max_forward<T>, blocks_for(out.count()), dim3(threads), 0, stream_of(stream), s, out,
               static_cast<const T*>(a.x), static_cast<T*>(a.y), a.index);
}
template <class T>
void max_backward_of(const PoolShape& s, const MaxPoolBackwardArgs& a, Stream stream) {
  const Outputs out{s.n, output_height(s), output_width(s), s.c};
  simt::launch(max_backward<T>, blocks_for(s.n * s.h * s.w * s.c), dim3(threads), 0, stream_of(stream), s,
               out, static_cast<const T*>(a.g), a.index, static_cast<T*>(a.dx));
}
template <class T>
void average_forward_of(const PoolShape& s, const AveragePoolForwardArgs& a, Stream stream) {
  simt::launch(average_forward<T>, blocks_for(s.n * s.c), dim3(threads), 0, stream_of(stream), s,
               static_cast<const T*>(a.x), static_cast<T*>(a.y));
}
template <class T>
void average_backward_of(const PoolShape& s, const AveragePoolBackwardArgs& a, Stream stream) {
  simt::launch(average_backward<T>, blocks_for(s.n * s.h * s.w * s.c), dim3(threads), 0, stream_of(stream), s,
               static_cast<const T*>(a.g), static_cast<T*>(a.dx));
}

void launch_max_forward(const PoolShape& s, const MaxPoolForwardArgs& a, Stream stream) {
  s.type == RTFQ_BF16 ? max_forward_of<bf16>(s, a, stream) : max_forward_of<float>(s, a, stream);
}
void launch_max_backward(const PoolShape& s, const MaxPoolBackwardArgs& a, Stream stream) {
  s.type == RTFQ_BF16 ? max_backward_of<bf16>(s, a, stream) : max_backward_of<float>(s, a, stream);
}
void launch_average_forward(const PoolShape& s, const AveragePoolForwardArgs& a, Stream stream) {
  s.type == RTFQ_BF16 ? average_forward_of<bf16>(s, a, stream) : average_forward_of<float>(s, a, stream);
}
void launch_average_codes(const PoolShape& s, const AveragePoolForwardArgs& a, Stream stream) {
  simt::launch(average_codes, blocks_for(s.n * s.c), dim3(threads), 0, stream_of(stream), s,
               static_cast<const uint8_t*>(a.x), a.scale, static_cast<float*>(a.y));
}
void launch_average_backward(const PoolShape& s, const AveragePoolBackwardArgs& a, Stream stream) {
  s.type == RTFQ_BF16 ? average_backward_of<bf16>(s, a, stream) : average_backward_of<float>(s, a, stream);
}

const char* pool_unsupported(const PoolShape& s) {
  if (s.type != RTFQ_F32 && s.type != RTFQ_BF16) return "takes f32 or bf16 operands";
  if (s.h >= INT32_MAX / 2 || s.w >= INT32_MAX / 2) return "takes fewer than 2^30 rows and columns";
  return s.n * s.h * s.w * s.c / threads < INT32_MAX ? nullptr : "takes fewer than 2^31 blocks";
}

const char* codes_unsupported(const PoolShape& s) {
  if (s.type != RTFQ_U8) return "takes u8 codes only";
  if (s.h * s.w > (int64_t{1} << 23)) return "sums of this many codes do not fit in 32 bits";
  return s.n * s.c / threads < INT32_MAX ? nullptr : "takes fewer than 2^31 blocks";
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
  static constexpr Impl list[] = {{"codes", RTFQ_GPU::codes_unsupported, RTFQ_GPU::launch_average_codes},
                                  {"naive", RTFQ_GPU::pool_unsupported, RTFQ_GPU::launch_average_forward}};
  return list;
}
std::span<const AveragePoolBackward::Impl> AveragePoolBackward::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"naive", RTFQ_GPU::pool_unsupported, RTFQ_GPU::launch_average_backward}};
  return list;
}

}  // namespace rtfq::kernels
