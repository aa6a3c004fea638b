#pragma once
// What every file of kernels/cuda starts with. The files are compiled by nvcc for GPUs and by the host's
// compiler for the executor, into namespaces of their own, so that one binary may hold both.

#include "kernels/operator.h"
#include "kernels/simt/simt.h"

#if defined(__CUDACC__)
#define RTFQ_GPU gpu_cuda
#define RTFQ_GPU_LIST cuda
#else
#define RTFQ_GPU gpu_simt
#define RTFQ_GPU_LIST simt
#endif

namespace rtfq::kernels::RTFQ_GPU {

inline simt::stream_t stream_of(Stream stream) {
  return static_cast<simt::stream_t>(stream.handle);
}

inline bool aligned(const void* pointer, std::size_t bytes) {
  return reinterpret_cast<uintptr_t>(pointer) % bytes == 0;
}

}  // namespace rtfq::kernels::RTFQ_GPU
