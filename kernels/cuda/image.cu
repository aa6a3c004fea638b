// Normalization and resizing of images.
//
// A block of 256 threads takes 256 neighbouring outputs, a thread one; channels are innermost. Resizing sums
// the columns of the filter's rows, then along the row, in the CPU's order, with weights that each thread
// computes in double: no table and no workspace. Floor: normalize 5 bytes an element and a multiply-add;
// resize the source once and the output once, taps squared multiply-adds an output. Limits: fewer than 2^31
// blocks. Not yet timed on a GPU.
#include "kernels/cuda/gpu.h"
#include "kernels/image.h"

namespace rtfq::kernels {
namespace RTFQ_GPU {
namespace {

constexpr int threads = 256;

__global__ void __launch_bounds__(threads)
    normalize(int64_t count, int64_t channels, const uint8_t* __restrict__ x, const float* __restrict__ mean,
              const float* __restrict__ deviation, float* __restrict__ y) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i >= count) return;
  const double d = static_cast<double>(deviation[i % channels]);
  const auto scale = static_cast<float>(1.0 / (255.0 * d));
  const auto shift = static_cast<float>(-static_cast<double>(mean[i % channels]) / d);
  y[i] = __fmaf_rn(static_cast<float>(x[i]), scale, shift);
}

/// The triangle filter of output `i` of an axis: source places [begin, end) and their weights.
struct Filter {
  double center, support, sum;
  int64_t begin, end;

  __device__ __forceinline__ double raw(int64_t j) const {
    const double distance = fabs((static_cast<double>(j) + 0.5 - center) / support);
    return distance < 1.0 ? 1.0 - distance : 0.0;
  }
  __device__ __forceinline__ float weight(int64_t j) const { return static_cast<float>(raw(j) / sum); }
};

__device__ __forceinline__ Filter filter_of(int64_t i, int64_t in, int64_t out, bool antialias) {
  Filter f;
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  f.support = antialias && scale > 1.0 ? scale : 1.0;
  f.center = (static_cast<double>(i) + 0.5) * scale;
  const auto first = static_cast<int64_t>(f.center - f.support + 0.5);
  const auto last = static_cast<int64_t>(f.center + f.support + 0.5);
  f.begin = first > 0 ? first : 0;
  f.end = last < in ? last : in;
  f.sum = 0;
  for (int64_t j = f.begin; j < f.end; ++j) f.sum += f.raw(j);
  return f;
}

__global__ void __launch_bounds__(threads)
    resize(ResizeShape s, const float* __restrict__ x, float* __restrict__ y) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i >= s.n * s.p * s.q * s.c) return;
  const int64_t c = i % s.c, q = i / s.c % s.q, p = i / s.c / s.q % s.p, n = i / s.c / s.q / s.p;
  const Filter rows = filter_of(p, s.h, s.p, s.antialias), columns = filter_of(q, s.w, s.q, s.antialias);
  const float* image = x + n * s.h * s.w * s.c + c;
  float sum = 0;
  for (int64_t w = columns.begin; w < columns.end; ++w) {
    float column = 0;
    for (int64_t h = rows.begin; h < rows.end; ++h)
      column = __fmaf_rn(rows.weight(h), image[(h * s.w + w) * s.c], column);
    sum = __fmaf_rn(columns.weight(w), column, sum);
  }
  y[i] = sum;
}

dim3 blocks_for(int64_t count) {
  return dim3(static_cast<unsigned>((count + threads - 1) / threads));
}

void launch_normalize(const ResizeShape& s, const NormalizeArgs& a, Stream stream) {
  const int64_t count = s.n * s.h * s.w * s.c;
  simt::launch(normalize, blocks_for(count), dim3(threads), 0, stream_of(stream), count, s.c, a.x, a.mean,
               a.deviation, a.y);
}

void launch_resize(const ResizeShape& s, const ResizeArgs& a, Stream stream) {
  simt::launch(resize, blocks_for(s.n * s.p * s.q * s.c), dim3(threads), 0, stream_of(stream), s, a.x, a.y);
}

const char* normalize_unsupported(const ResizeShape& s) {
  return s.n * s.h * s.w * s.c / threads < INT32_MAX ? nullptr : "takes fewer than 2^31 blocks";
}
const char* resize_unsupported(const ResizeShape& s) {
  return s.n * s.p * s.q * s.c / threads < INT32_MAX ? nullptr : "takes fewer than 2^31 blocks";
}

}  // namespace
}  // namespace RTFQ_GPU

std::span<const Normalize::Impl> Normalize::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"naive", RTFQ_GPU::normalize_unsupported, RTFQ_GPU::launch_normalize}};
  return list;
}
std::span<const Resize::Impl> Resize::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"naive", RTFQ_GPU::resize_unsupported, RTFQ_GPU::launch_resize}};
  return list;
}

}  // namespace rtfq::kernels
