#pragma once
// What the GPU at hand is, for implementations that not every GPU can run.

#include "kernels/cuda/gpu.h"

namespace rtfq::kernels::RTFQ_GPU {

/// Whether kernels for Hopper run here: compute capability 9.0 exactly, since wgmma exists nowhere else. The
/// executor knows them.
inline bool has_wgmma() {
#if defined(__CUDACC__)
  static const bool result = [] {
    int device = 0, major = 0, minor = 0;
    return cudaGetDevice(&device) == cudaSuccess &&
           cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
           cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) == cudaSuccess &&
           major == 9 && minor == 0;
  }();
  return result;
#else
  return true;
#endif
}

}  // namespace rtfq::kernels::RTFQ_GPU
