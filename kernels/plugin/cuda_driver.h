#pragma once
// The few functions of the CUDA driver that launch a cubin, by its stable C interface. The library is opened
// when it is first wanted, so that no build needs it.

#include <string>

namespace rtfq::kernels::plugin {

/// A kernel that the driver has loaded; of all devices.
struct DriverKernel;

/// Loads `cubin` and finds `name` in it. Throws std::runtime_error ("[cuda] ...") when there is no driver
/// ($RTFQ_CUDA_DRIVER, else libcuda.so.1), when it is older than CUDA 12, or when it refuses the cubin: it is
/// for another GPU, for one.
DriverKernel* load_kernel(const std::string& cubin, const std::string& name);

struct DriverLaunch {
  unsigned blocks, threads;  ///< of one dimension
  unsigned shared_bytes;
  void** parameters;  ///< the address of each
  void* stream;       ///< a cudaStream_t
};

/// Launches on the current context. Throws std::runtime_error ("[cuda] ...").
void launch_kernel(DriverKernel*, const DriverLaunch&);

}  // namespace rtfq::kernels::plugin
