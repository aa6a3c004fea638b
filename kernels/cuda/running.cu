// Running statistics of a batch normalization, and additions into many small gradients.
//
// Statistics: a block of 256 threads takes 256 channels, a thread one, in double as on the CPU. Additions: a
// launch carries up to 32 tensors as an argument; blocks along y take a tensor each, those along x 1,024 of
// its elements. Floor: 24 bytes a channel, 12 bytes an element added; a launch takes longer than its work.
// Limits: fewer than 2^31 blocks. Not yet timed on a GPU.
#include <algorithm>

#include "kernels/cuda/gpu.h"
#include "kernels/running.h"

namespace rtfq::kernels {
namespace RTFQ_GPU {
namespace {

constexpr int threads = 256, table_size = 32;
constexpr int64_t piece = 1024;

__global__ void __launch_bounds__(threads)
    running(int64_t c, float* mean, float* variance, const float* batch_mean, const float* batch_variance,
            double weight, double unbiased, double between) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i >= c) return;
  const double shift = static_cast<double>(batch_mean[i]) - static_cast<double>(mean[i]);
  variance[i] = static_cast<float>((1 - weight) * static_cast<double>(variance[i]) +
                                   weight * unbiased * static_cast<double>(batch_variance[i]) +
                                   between * shift * shift);
  mean[i] = static_cast<float>(static_cast<double>(mean[i]) + weight * shift);
}

struct Table {
  AccumulateTensor tensor[table_size];
};

__global__ void __launch_bounds__(threads) accumulate(const __grid_constant__ Table table) {
  const AccumulateTensor& t = table.tensor[blockIdx.y];
  const int64_t first = static_cast<int64_t>(blockIdx.x) * piece;
  const int64_t last = first + piece < t.count ? first + piece : t.count;
  for (int64_t i = first + threadIdx.x; i < last; i += threads) t.into[i] += t.values[i];
}

void launch_running(const RunningShape& s, const RunningStatisticsArgs& a, Stream stream) {
  if (s.c == 0) return;
  simt::launch(running, dim3(static_cast<unsigned>((s.c + threads - 1) / threads)), dim3(threads), 0,
               stream_of(stream), s.c, a.mean, a.variance, a.batch_mean, a.batch_variance, a.weight,
               a.unbiased, a.between);
}

void launch_accumulate(const AccumulateShape&, const AccumulateArgs& a, Stream stream) {
  for (std::size_t first = 0; first < a.tensors.size(); first += table_size) {
    Table table{};
    const std::size_t count = std::min<std::size_t>(table_size, a.tensors.size() - first);
    int64_t longest = 0;
    for (std::size_t i = 0; i < count; ++i) {
      table.tensor[i] = a.tensors[first + i];
      longest = std::max(longest, table.tensor[i].count);
    }
    if (longest == 0) continue;
    simt::launch(accumulate,
                 dim3(static_cast<unsigned>((longest + piece - 1) / piece), static_cast<unsigned>(count)),
                 dim3(threads), 0, stream_of(stream), table);
  }
}

const char* accumulate_unsupported(const AccumulateShape& s) {
  return s.total / piece < INT32_MAX ? nullptr : "takes fewer than 2^31 blocks";
}

}  // namespace
}  // namespace RTFQ_GPU

std::span<const RunningStatistics::Impl> RunningStatistics::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, RTFQ_GPU::launch_running}};
  return list;
}
std::span<const Accumulate::Impl> Accumulate::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"tables", RTFQ_GPU::accumulate_unsupported, RTFQ_GPU::launch_accumulate}};
  return list;
}

}  // namespace rtfq::kernels
