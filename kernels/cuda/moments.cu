// Statistics of a batch normalization as sums over ranks, and back.
//
// A block of 256 threads takes 256 channels of a segment (blocks along y), a thread one, in double as on the
// CPU. Floor: 24 bytes a channel either way; a launch takes longer than its work. Limits: fewer than 2^31
// blocks along x. Not yet timed on a GPU.
#include "kernels/cuda/gpu.h"
#include "kernels/moments.h"

namespace rtfq::kernels {
namespace RTFQ_GPU {
namespace {

constexpr int threads = 256;

__global__ void __launch_bounds__(threads)
    moments(const __grid_constant__ MomentsShape s, const __grid_constant__ BatchMomentsArgs a) {
  const int64_t j = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (j >= s.c) return;
  const int64_t i = static_cast<int64_t>(blockIdx.y) * s.c + j;
  const double n = a.counts[blockIdx.y], mean = static_cast<double>(a.mean[i]);
  a.sums[i] = n * mean;
  a.sums[s.segments * s.c + i] = n * (static_cast<double>(a.variance[i]) + mean * mean);
}

__global__ void __launch_bounds__(threads)
    joint(const __grid_constant__ MomentsShape s, const __grid_constant__ JointStatisticsArgs a) {
  const int64_t j = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (j >= s.c) return;
  const int64_t i = static_cast<int64_t>(blockIdx.y) * s.c + j;
  const double n = a.counts[blockIdx.y], mean = a.sums[i] / n;
  const double variance = a.sums[s.segments * s.c + i] / n - mean * mean;
  a.mean[i] = static_cast<float>(mean);
  a.variance[i] = static_cast<float>(variance < 0 ? 0 : variance);
}

dim3 grid_of(const MomentsShape& s) {
  return dim3(static_cast<unsigned>((s.c + threads - 1) / threads), static_cast<unsigned>(s.segments));
}

void launch_moments(const MomentsShape& s, const BatchMomentsArgs& a, Stream stream) {
  simt::launch(moments, grid_of(s), dim3(threads), 0, stream_of(stream), s, a);
}

void launch_joint(const MomentsShape& s, const JointStatisticsArgs& a, Stream stream) {
  simt::launch(joint, grid_of(s), dim3(threads), 0, stream_of(stream), s, a);
}

}  // namespace
}  // namespace RTFQ_GPU

std::span<const BatchMoments::Impl> BatchMoments::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, RTFQ_GPU::launch_moments}};
  return list;
}
std::span<const JointStatistics::Impl> JointStatistics::RTFQ_GPU_LIST() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, RTFQ_GPU::launch_joint}};
  return list;
}

}  // namespace rtfq::kernels
