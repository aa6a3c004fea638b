// A copy and a read of device memory, to measure bandwidth by and to empty the second-level cache with.
//
// A block of 256 threads takes 64 KB in four rounds of 16 KB, a thread four accesses of 16 bytes a round, all
// loads of a round before its stores, neighbours side by side; the next round's loads do not wait for the
// stores. Floor: each byte read once, and written once by the copy. Bound by memory. Limits: multiples of 64
// KB, fewer than 2^31 of them. Not yet timed on a GPU.
#include <stdexcept>
#include <string>

#include "kernels/cuda/gpu.h"
#include "kernels/cuda/memory_speed.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

constexpr int threads = 256, at_once = 4, rounds = 4;
static_assert(threads * at_once * rounds * 16 == memory_speed_chunk);

__device__ __forceinline__ int64_t first_of_thread() {
  return static_cast<int64_t>(blockIdx.x) * (threads * at_once * rounds) + threadIdx.x;
}

__global__ void __launch_bounds__(threads) copy(const uint4* __restrict__ from, uint4* __restrict__ to) {
  int64_t at = first_of_thread();
#pragma unroll
  for (int round = 0; round < rounds; ++round) {
    uint4 value[at_once];
#pragma unroll
    for (int i = 0; i < at_once; ++i) value[i] = from[at + i * threads];
#pragma unroll
    for (int i = 0; i < at_once; ++i) to[at + i * threads] = value[i];
    at += at_once * threads;
  }
}

__global__ void __launch_bounds__(threads) read(const uint4* __restrict__ from, uint32_t* __restrict__ sink) {
  int64_t at = first_of_thread();
  uint32_t all = 0;
#pragma unroll
  for (int i = 0; i < at_once * rounds; ++i) {
    const uint4 value = from[at];
    all ^= value.x ^ value.y ^ value.z ^ value.w;
    at += threads;
  }
  if (all == 0x9E3779B9u) *sink = all;  // or the compiler would leave the loads out
}

dim3 blocks_for(const void* from, const void* to, int64_t bytes) {
  if (bytes % memory_speed_chunk || bytes / memory_speed_chunk > INT32_MAX)
    throw std::invalid_argument("[memory] expected a multiple of " + std::to_string(memory_speed_chunk) +
                                " bytes, got " + std::to_string(bytes));
  if (!aligned(from, 16) || !aligned(to, 16))
    throw std::invalid_argument("[memory] expected memory at multiples of 16 bytes");
  return dim3(static_cast<unsigned>(bytes / memory_speed_chunk));
}

}  // namespace

void copy_memory(const void* from, void* to, int64_t bytes, Stream stream) {
  const dim3 blocks = blocks_for(from, to, bytes);
  if (bytes)
    simt::launch(copy, blocks, dim3(threads), 0, stream_of(stream), static_cast<const uint4*>(from),
                 static_cast<uint4*>(to));
}

void read_memory(const void* from, int64_t bytes, void* sink, Stream stream) {
  const dim3 blocks = blocks_for(from, nullptr, bytes);
  if (bytes)
    simt::launch(read, blocks, dim3(threads), 0, stream_of(stream), static_cast<const uint4*>(from),
                 static_cast<uint32_t*>(sink));
}

}  // namespace rtfq::kernels::RTFQ_GPU
