// What is made of a network's answers: pseudo-labels, counts, class sums, means and averages.
//
// A thread takes a row (labels, counts), a class (sums) or an element (means, averages), alone and in order,
// so that results are the CPU's bits. Blocks have 256 threads; the count is one block, whose threads take
// every 256th row. Some hundred rows and classes: a launch takes longer than its work. Floor: the operands
// once. Limits: a mean of more than 64 tensors takes several launches. Not yet timed on a GPU.
#include <algorithm>

#include "kernels/answers.h"
#include "kernels/cuda/reduce.h"

namespace rtfq::kernels {
namespace RTFQ_GPU {
namespace {

constexpr int threads = 256, table_size = 64;

__device__ __forceinline__ int64_t this_thread() {
  return static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
}

/// The first of the greatest.
__device__ __forceinline__ int64_t arg_max(const float* row, int64_t k) {
  int64_t best = 0;
  for (int64_t j = 1; j < k; ++j)
    if (row[best] < row[j]) best = j;
  return best;
}

__global__ void __launch_bounds__(threads)
    pseudo_labels(LogitsShape s, const float* probabilities, double threshold, int32_t* labels, float* mask) {
  const int64_t i = this_thread();
  if (i >= s.n) return;
  const float* row = probabilities + i * s.k;
  const int64_t best = arg_max(row, s.k);
  labels[i] = static_cast<int32_t>(best);
  mask[i] = static_cast<double>(row[best]) > threshold ? 1.0f : 0.0f;
}

__global__ void __launch_bounds__(threads)
    count_right(LogitsShape s, const float* z, const int32_t* labels, float* right) {
  double count = 0;
  for (int64_t i = threadIdx.x; i < s.n; i += threads)
    count += arg_max(z + i * s.k, s.k) == labels[i] ? 1.0 : 0.0;
  count = block_sum<threads>(count);
  if (threadIdx.x == 0) *right = static_cast<float>(count);
}

__global__ void __launch_bounds__(threads) class_sums(LogitsShape s, const float* x, float* sums) {
  const int64_t j = this_thread();
  if (j >= s.k) return;
  float sum = 0;
  for (int64_t i = 0; i < s.n; ++i) sum += x[i * s.k + j];
  sums[j] = sum;
}

struct Table {
  const float* x[table_size];
  int count;
};

__global__ void __launch_bounds__(threads)
    mean_of(const __grid_constant__ Table table, int64_t count, float tensors, bool add, float* y) {
  const int64_t i = this_thread();
  if (i >= count) return;
  float sum = add ? y[i] : 0.0f;
  for (int t = 0; t < table.count; ++t) sum += __fdiv_rn(table.x[t][i], tensors);
  y[i] = sum;
}

__global__ void __launch_bounds__(threads)
    blend(int64_t count, const float* a, const float* b, double keep, double divisor, float* y) {
  const int64_t i = this_thread();
  if (i >= count) return;
  y[i] = static_cast<float>(keep * static_cast<double>(a[i]) +
                            (1 - keep) * (static_cast<double>(b[i]) / divisor));
}

dim3 blocks_for(int64_t count) {
  return dim3(static_cast<unsigned>((count + threads - 1) / threads));
}

void launch_pseudo_labels(const LogitsShape& s, const PseudoLabelsArgs& a, Stream stream) {
  simt::launch(pseudo_labels, blocks_for(s.n), dim3(threads), 0, stream_of(stream), s, a.probabilities,
               a.threshold, a.labels, a.mask);
}
void launch_count_right(const LogitsShape& s, const CountRightArgs& a, Stream stream) {
  simt::launch(count_right, dim3(1), dim3(threads), 0, stream_of(stream), s, a.z, a.labels, a.right);
}
void launch_class_sums(const LogitsShape& s, const ClassSumsArgs& a, Stream stream) {
  simt::launch(class_sums, blocks_for(s.k), dim3(threads), 0, stream_of(stream), s, a.x, a.sums);
}
void launch_mean_of(const VectorShape& s, const MeanOfArgs& a, Stream stream) {
  if (s.count == 0) return;
  const auto tensors = static_cast<float>(a.x.size());
  for (std::size_t first = 0; first < a.x.size(); first += table_size) {
    Table table{};
    table.count = static_cast<int>(std::min<std::size_t>(table_size, a.x.size() - first));
    std::copy_n(a.x.begin() + static_cast<std::ptrdiff_t>(first), table.count, table.x);
    simt::launch(mean_of, blocks_for(s.count), dim3(threads), 0, stream_of(stream), table, s.count, tensors,
                 first > 0, a.y);
  }
}
void launch_blend(const VectorShape& s, const BlendArgs& a, Stream stream) {
  if (s.count == 0) return;
  simt::launch(blend, blocks_for(s.count), dim3(threads), 0, stream_of(stream), s.count, a.a, a.b, a.keep,
               a.divisor, a.y);
}

}  // namespace
}  // namespace RTFQ_GPU

std::span<const PseudoLabels::Impl> PseudoLabels::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, RTFQ_GPU::launch_pseudo_labels}};
  return list;
}
std::span<const CountRight::Impl> CountRight::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, RTFQ_GPU::launch_count_right}};
  return list;
}
std::span<const ClassSums::Impl> ClassSums::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, RTFQ_GPU::launch_class_sums}};
  return list;
}
std::span<const MeanOf::Impl> MeanOf::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, RTFQ_GPU::launch_mean_of}};
  return list;
}
std::span<const Blend::Impl> Blend::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, RTFQ_GPU::launch_blend}};
  return list;
}

}  // namespace rtfq::kernels
