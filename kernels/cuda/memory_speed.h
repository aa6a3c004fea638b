#pragma once
// What a GPU's memory is measured with: a plain copy, and reading something else, after which nothing of what
// came before is left in the second-level cache.

#include <cstdint>

#include "kernels/runtime/device.h"

namespace rtfq::kernels {
namespace gpu_cuda {

/// Bytes that both take multiples of; memory begins on multiples of 16.
constexpr int64_t memory_speed_chunk = 1 << 16;
void copy_memory(const void* from, void* to, int64_t bytes, Stream);
/// `sink`: 4 bytes, which stay as they are but for one in 2^32 contents.
void read_memory(const void* from, int64_t bytes, void* sink, Stream);

}  // namespace gpu_cuda
/// The same for the executor.
namespace gpu_simt {

constexpr int64_t memory_speed_chunk = 1 << 16;
void copy_memory(const void* from, void* to, int64_t bytes, Stream);
void read_memory(const void* from, int64_t bytes, void* sink, Stream);

}  // namespace gpu_simt
}  // namespace rtfq::kernels
