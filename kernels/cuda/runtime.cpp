// Memory and streams of NVIDIA GPUs. The CUDA runtime is linked statically and looks for the driver when it
// is first called, so a binary with this file starts anywhere.
#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

#include "kernels/runtime/cuda.h"

namespace rtfq::kernels {

const bool built_with_cuda = true;

namespace runtime {
namespace {

void check(cudaError_t error, const std::string& what) {
  if (error != cudaSuccess) throw std::runtime_error("[cuda] " + what + ": " + cudaGetErrorString(error));
}

/// Makes the device current on this thread; throws where there is none.
void select(Device device) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0)
    throw std::runtime_error(std::string("[cuda] this machine has no usable CUDA device (") +
                             cudaGetErrorString(error == cudaSuccess ? cudaErrorNoDevice : error) +
                             "): install the driver, or use device cpu");
  if (device.index >= count)
    throw std::runtime_error("[cuda] expected a device below " + std::to_string(count) +
                             ", got cuda:" + std::to_string(device.index));
  check(cudaSetDevice(device.index), "selecting the device");
}

cudaStream_t stream_of(Stream stream) {
  return static_cast<cudaStream_t>(stream.handle);
}

}  // namespace

void* cuda_allocate(Device device, std::size_t bytes) {
  select(device);
  void* pointer = nullptr;
  check(cudaMalloc(&pointer, bytes ? bytes : 1),
        "allocating " + std::to_string(bytes) + " bytes; lower the batch size or the resolution");
  return pointer;
}

void cuda_release(Device, void* pointer) noexcept {
  cudaFree(pointer);
}

void cuda_copy(void* to, Device to_device, const void* from, Device from_device, std::size_t bytes,
               Stream stream) {
  if (to_device.backend == Backend::simt || from_device.backend == Backend::simt)
    throw std::invalid_argument(
        "[runtime] expected a copy between cuda and cuda or cpu, got simt: go through cpu");
  select(to_device.backend == Backend::cuda ? to_device : from_device);
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_of(stream)), "copying");
  if (to_device.backend != from_device.backend) check(cudaStreamSynchronize(stream_of(stream)), "copying");
}

void cuda_fill_zero(Device device, void* pointer, std::size_t bytes, Stream stream) {
  select(device);
  check(cudaMemsetAsync(pointer, 0, bytes, stream_of(stream)), "filling");
}

void cuda_synchronize(Stream stream) {
  select(stream.device);
  check(cudaStreamSynchronize(stream_of(stream)), "synchronising");
}

}  // namespace runtime
}  // namespace rtfq::kernels
