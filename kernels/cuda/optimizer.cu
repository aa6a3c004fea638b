// SGD with Nesterov momentum, the teacher's moving average and the squared norm, over many tensors in one
// launch.
//
// A launch carries a table of up to 40 tensors as a kernel argument (some 3 KiB of the 4 that CUDA takes), so
// no table is copied to the device; a ResNet-50 with its norms takes a few launches. A block of 256 threads
// takes 2,048 neighbouring elements of one tensor, found by bisection in the table; a thread takes every
// 256th element, so that loads of a warp are neighbours whatever the alignment. The naive versions take one
// tensor a launch, one element a thread. The squared norm has up to 264 blocks, two a multiprocessor, each of
// which goes through every 264th run of 2,048 elements and adds its sum over a table to its place in the
// workspace; one block adds these at the end: the same bits on every run. Floor: SGD 24 bytes an element
// (three read, three written) and 8 operations, the average 12 and 3, the norm 4 and 2. Bound by memory.
// Limits: fewer than 2^31 blocks. Not yet timed on a GPU.
#include <algorithm>

#include "kernels/cuda/reduce.h"
#include "kernels/optimizer.h"

namespace rtfq::kernels {
namespace RTFQ_GPU {
namespace {

constexpr int threads = 256, norm_blocks = 264, table_size = 40;
constexpr int64_t piece = 2048;

template <class Tensor>
struct Table {
  Tensor tensor[table_size];
  int first_block[table_size + 1];  ///< of each tensor
  int count;
};

struct Run {
  int tensor;
  int64_t first, last;
};

template <class Tensor>
__device__ __forceinline__ Run run_of_block(const Table<Tensor>& table, int block) {
  int low = 0, high = table.count;  // the tensor is in [low, high)
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (table.first_block[middle] <= block)
      low = middle;
    else
      high = middle;
  }
  const int64_t first = (block - table.first_block[low]) * piece;
  const int64_t end = table.tensor[low].count;
  return {low, first, first + piece < end ? first + piece : end};
}

struct SgdRule {
  float momentum, gradient_scale, step_limit;
  bool nesterov;
  const float* scale;  ///< instead of gradient_scale, if not null

  explicit SgdRule(const SgdArgs& a)
      : momentum(a.momentum),
        gradient_scale(a.gradient_scale),
        step_limit(a.step_limit),
        nesterov(a.nesterov),
        scale(a.scale) {}
};

__device__ __forceinline__ void sgd_one(const SgdRule& rule, const SgdTensor& t, int64_t i) {
  const float value = t.value[i];
  const float scale = rule.scale ? *rule.scale : rule.gradient_scale;
  const float g = __fmaf_rn(t.weight_decay, value, t.gradient[i] * scale);
  const float m = __fmaf_rn(rule.momentum, t.momentum[i], g);
  const float direction = rule.nesterov ? __fmaf_rn(rule.momentum, m, g) : m;
  if (t.positive) {  // step sizes are few: double costs nothing. A NaN stays one.
    const double limit = static_cast<double>(rule.step_limit), start = static_cast<double>(value);
    double change = -static_cast<double>(t.learning_rate) * static_cast<double>(direction) / start;
    change = change < -limit ? -limit : limit < change ? limit : change;
    const float updated = static_cast<float>(start * exp(change));
    t.value[i] = updated < 0x1p-60f ? 0x1p-60f : updated;
  } else {
    t.value[i] = __fmaf_rn(-t.learning_rate, direction, value);
  }
  t.momentum[i] = m;
  t.gradient[i] = 0;
}

__global__ void __launch_bounds__(threads) sgd(const __grid_constant__ Table<SgdTensor> table, SgdRule rule) {
  const Run run = run_of_block(table, static_cast<int>(blockIdx.x));
  const SgdTensor& t = table.tensor[run.tensor];
  for (int64_t i = run.first + threadIdx.x; i < run.last; i += threads) sgd_one(rule, t, i);
}

__global__ void __launch_bounds__(threads) sgd_naive(SgdTensor t, SgdRule rule) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i < t.count) sgd_one(rule, t, i);
}

__device__ __forceinline__ void average_one(const AverageTensor& t, float decay, int64_t i) {
  t.average[i] = __fmaf_rn(decay, t.average[i], (1.0f - decay) * t.value[i]);
}

__global__ void __launch_bounds__(threads)
    moving_average(const __grid_constant__ Table<AverageTensor> table, float decay) {
  const Run run = run_of_block(table, static_cast<int>(blockIdx.x));
  for (int64_t i = run.first + threadIdx.x; i < run.last; i += threads)
    average_one(table.tensor[run.tensor], decay, i);
}

__global__ void __launch_bounds__(threads) moving_average_naive(AverageTensor t, float decay) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i < t.count) average_one(t, decay, i);
}

/// partial[block] is, or grows by, the sum of squares of the block's runs.
__global__ void __launch_bounds__(threads)
    squared_norm(const __grid_constant__ Table<SgdTensor> table, double* partial, bool add) {
  double sum = 0;
  const int runs = table.first_block[table.count];
  for (int at = static_cast<int>(blockIdx.x); at < runs; at += norm_blocks) {
    const Run run = run_of_block(table, at);
    const float* gradient = table.tensor[run.tensor].gradient;
    for (int64_t i = run.first + threadIdx.x; i < run.last; i += threads) {
      const double g = static_cast<double>(gradient[i]);
      sum += g * g;
    }
  }
  sum = block_sum<threads>(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = add ? partial[blockIdx.x] + sum : sum;
}

__global__ void __launch_bounds__(threads) add_norms(const double* partial, double* out) {
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < norm_blocks; i += threads) sum += partial[i];
  sum = block_sum<threads>(sum);
  if (threadIdx.x == 0) *out = sum;
}

__global__ void __launch_bounds__(32)
    squared_norm_naive(const float* gradient, int64_t count, double* out, bool add) {
  if (threadIdx.x != 0) return;
  double sum = add ? *out : 0;
  for (int64_t i = 0; i < count; ++i)
    sum += static_cast<double>(gradient[i]) * static_cast<double>(gradient[i]);
  *out = sum;
}

__global__ void __launch_bounds__(32) clip_scale(ClipScaleArgs a) {
  if (threadIdx.x != 0) return;
  const double norm = sqrt(*a.squares) * a.scale;
  *a.out = static_cast<float>(a.limit > 0 && norm > a.limit ? a.scale * (a.limit / norm) : a.scale);
}

/// Calls f(table) for every table that the tensors fill; empty tensors are left out.
template <class Tensor, class F>
void for_tables(std::span<const Tensor> tensors, F&& f) {
  Table<Tensor> table{};
  int64_t blocks = 0;
  const auto flush = [&] {
    table.first_block[table.count] = static_cast<int>(blocks);
    if (table.count) f(table, static_cast<unsigned>(blocks));
    table.count = 0;
    blocks = 0;
  };
  for (const Tensor& t : tensors) {
    if (t.count == 0) continue;
    const int64_t more = (t.count + piece - 1) / piece;
    if (table.count == table_size || blocks + more > INT32_MAX) flush();
    table.tensor[table.count] = t;
    table.first_block[table.count++] = static_cast<int>(blocks);
    blocks += more;
  }
  flush();
}

dim3 one_element_a_thread(int64_t count) {
  return dim3(static_cast<unsigned>((count + threads - 1) / threads));
}

void launch_sgd(const OptimizerShape&, const SgdArgs& a, Stream stream) {
  const SgdRule rule(a);
  for_tables(a.tensors, [&](const Table<SgdTensor>& table, unsigned blocks) {
    simt::launch(sgd, dim3(blocks), dim3(threads), 0, stream_of(stream), table, rule);
  });
}
void launch_sgd_naive(const OptimizerShape&, const SgdArgs& a, Stream stream) {
  const SgdRule rule(a);
  for (const SgdTensor& t : a.tensors)
    if (t.count)
      simt::launch(sgd_naive, one_element_a_thread(t.count), dim3(threads), 0, stream_of(stream), t, rule);
}

void launch_moving_average(const OptimizerShape&, const MovingAverageArgs& a, Stream stream) {
  for_tables(a.tensors, [&](const Table<AverageTensor>& table, unsigned blocks) {
    simt::launch(moving_average, dim3(blocks), dim3(threads), 0, stream_of(stream), table, a.decay);
  });
}
void launch_moving_average_naive(const OptimizerShape&, const MovingAverageArgs& a, Stream stream) {
  for (const AverageTensor& t : a.tensors)
    if (t.count)
      simt::launch(moving_average_naive, one_element_a_thread(t.count), dim3(threads), 0, stream_of(stream),
                   t, a.decay);
}

void launch_squared_norm(const OptimizerShape&, const SquaredNormArgs& a, Stream stream) {
  bool add = false;
  auto* partial = static_cast<double*>(a.workspace);
  for_tables(a.tensors, [&](const Table<SgdTensor>& table, unsigned) {
    simt::launch(squared_norm, dim3(norm_blocks), dim3(threads), 0, stream_of(stream), table, partial, add);
    add = true;
  });
  if (add)
    simt::launch(add_norms, dim3(1), dim3(threads), 0, stream_of(stream), static_cast<const double*>(partial),
                 a.out);
  else
    runtime::fill_zero(stream.device, a.out, sizeof(double), stream);
}
std::size_t squared_norm_workspace(const OptimizerShape&) {
  return norm_blocks * sizeof(double);
}
void launch_squared_norm_naive(const OptimizerShape&, const SquaredNormArgs& a, Stream stream) {
  bool add = false;
  for (const SgdTensor& t : a.tensors) {
    simt::launch(squared_norm_naive, dim3(1), dim3(32), 0, stream_of(stream),
                 static_cast<const float*>(t.gradient), t.count, a.out, add);
    add = true;
  }
  if (!add) runtime::fill_zero(stream.device, a.out, sizeof(double), stream);
}

void launch_clip_scale(const OptimizerShape&, const ClipScaleArgs& a, Stream stream) {
  simt::launch(clip_scale, dim3(1), dim3(32), 0, stream_of(stream), a);
}

}  // namespace
}  // namespace RTFQ_GPU

std::span<const ClipScale::Impl> ClipScale::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, RTFQ_GPU::launch_clip_scale}};
  return list;
}
std::span<const Sgd::Impl> Sgd::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"tables", supports_all<Shape>, RTFQ_GPU::launch_sgd},
                                  {"naive", supports_all<Shape>, RTFQ_GPU::launch_sgd_naive}};
  return list;
}
std::span<const MovingAverage::Impl> MovingAverage::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"tables", supports_all<Shape>, RTFQ_GPU::launch_moving_average},
                                  {"naive", supports_all<Shape>, RTFQ_GPU::launch_moving_average_naive}};
  return list;
}
std::span<const SquaredNorm::Impl> SquaredNorm::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {
      {"blocks", supports_all<Shape>, RTFQ_GPU::launch_squared_norm, RTFQ_GPU::squared_norm_workspace},
      {"naive", supports_all<Shape>, RTFQ_GPU::launch_squared_norm_naive}};
  return list;
}

}  // namespace rtfq::kernels
