// Batch normalization as the formulas of kernels/batchnorm.h read. A thread of a block of 128 takes one
// element, or, for sums, a channel of a segment, one value after the other in double, twice for the variance.
// For comparison, not for speed. Floor: as in batchnorm_sums.cu and batchnorm_maps.cu; statistics read x
// twice here. Limits: f32 and bf16; fewer than 2^31 blocks.
#include "kernels/cuda/batchnorm.h"
#include "kernels/cuda/naive_rows.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

template <class T>
__global__ void __launch_bounds__(naive_threads)
    statistics_naive(BatchNormShape s, const T* x, float* mean_of, float* variance_of) {
  const int64_t number = naive_thread();
  if (number >= s.segments * s.c) return;
  const NaiveChannel channel(s, number);
  const auto m = static_cast<double>(channel.count());
  double sum = 0, squares = 0;
  for (int64_t i = channel.first; i < channel.end; i += channel.step)
    sum += static_cast<double>(value_at(x, i));
  const double mean = sum / m;
  for (int64_t i = channel.first; i < channel.end; i += channel.step) {
    const double d = static_cast<double>(value_at(x, i)) - mean;
    squares += d * d;
  }
  mean_of[number] = static_cast<float>(mean);
  variance_of[number] = static_cast<float>(squares / m);
}

template <class T>
__global__ void __launch_bounds__(naive_threads) normalize_naive(BatchNormShape s, BatchNormNormalizeArgs a) {
  const int64_t i = naive_thread();
  if (i >= s.n * s.hw * s.c) return;
  const NaivePlace place(s, i);
  const float factor =
      inverse_deviation(a.variance[place.at], s.epsilon) * a.scale[place.segment][place.channel];
  const float centred = value_at(static_cast<const T*>(a.x), i) - a.mean[place.at];
  const float value = __fmaf_rn(centred, factor, a.shift[place.segment][place.channel]);
  put_at(static_cast<T*>(a.y), i, a.relu && value < 0.0f ? 0.0f : value);
}

template <class T>
__global__ void __launch_bounds__(naive_threads) reduce_naive(BatchNormShape s, BatchNormReduceArgs a) {
  const int64_t number = naive_thread();
  if (number >= s.segments * s.c) return;
  const NaiveChannel channel(s, number);
  const float mean = a.mean[number];
  double sum = 0, products = 0;
  for (int64_t i = channel.first; i < channel.end; i += channel.step) {
    const auto g = static_cast<double>(value_at(static_cast<const T*>(a.g), i));
    sum += g;
    products += g * static_cast<double>(value_at(static_cast<const T*>(a.x), i) - mean);
  }
  a.sum_g[number] = static_cast<float>(sum);
  a.sum_gx[number] =
      static_cast<float>(products * static_cast<double>(inverse_deviation(a.variance[number], s.epsilon)));
}

template <class T>
__global__ void __launch_bounds__(naive_threads) apply_naive(BatchNormShape s, BatchNormApplyArgs a) {
  const int64_t i = naive_thread();
  if (i >= s.n * s.hw * s.c) return;
  const NaivePlace place(s, i);
  const float inverse = inverse_deviation(a.variance[place.at], s.epsilon), count = a.counts[place.segment];
  const float mean_g = __fdiv_rn(a.sum_g[place.at], count),
              slope = inverse * __fdiv_rn(a.sum_gx[place.at], count);
  const float centred = a.mean[place.at] - value_at(static_cast<const T*>(a.x), i);
  const float g = value_at(static_cast<const T*>(a.g), i);
  put_at(static_cast<T*>(a.dx), i,
         a.scale[place.segment][place.channel] * inverse * __fmaf_rn(centred, slope, g - mean_g));
}

template <class... P, class... A>
void launch_for(void (*kernel)(P...), int64_t threads, Stream stream, A... arguments) {
  simt::launch(kernel, naive_blocks(threads), dim3(naive_threads), 0, stream_of(stream), arguments...);
}

int64_t elements(const BatchNormShape& s) {
  return rows_of(s) * s.c;
}

}  // namespace

void batchnorm_statistics_naive(const BatchNormShape& s, const BatchNormStatisticsArgs& a, Stream stream) {
  if (s.type == RTFQ_BF16)
    launch_for(statistics_naive<bf16>, s.segments * s.c, stream, s, static_cast<const bf16*>(a.x), a.mean,
               a.variance);
  else
    launch_for(statistics_naive<float>, s.segments * s.c, stream, s, static_cast<const float*>(a.x), a.mean,
               a.variance);
}
void batchnorm_normalize_naive(const BatchNormShape& s, const BatchNormNormalizeArgs& a, Stream stream) {
  launch_for(s.type == RTFQ_BF16 ? normalize_naive<bf16> : normalize_naive<float>, elements(s), stream, s, a);
}
void batchnorm_reduce_naive(const BatchNormShape& s, const BatchNormReduceArgs& a, Stream stream) {
  launch_for(s.type == RTFQ_BF16 ? reduce_naive<bf16> : reduce_naive<float>, s.segments * s.c, stream, s, a);
}
void batchnorm_apply_naive(const BatchNormShape& s, const BatchNormApplyArgs& a, Stream stream) {
  launch_for(s.type == RTFQ_BF16 ? apply_naive<bf16> : apply_naive<float>, elements(s), stream, s, a);
}

}  // namespace rtfq::kernels::RTFQ_GPU
