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

}  // namespace

std::string cuda_missing(Device device) {
  static int count = 0;
  static const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0)
    return std::string("[cuda] this machine has no usable CUDA device (") +
           cudaGetErrorString(error == cudaSuccess ? cudaErrorNoDevice : error) +
           "): install the driver, or use device cpu";
  if (device.index >= count)
    return "[cuda] expected a device below " + std::to_string(count) +
           ", got cuda:" + std::to_string(device.index);
  return {};
}

namespace {

/// Makes the device current on this thread; throws where there is none.
void select(Device device) {
  if (const std::string missing = cuda_missing(device); !missing.empty()) throw std::runtime_error(missing);
  check(cudaSetDevice(device.index), "selecting the device");
}

cudaStream_t stream_of(Stream stream) {
  return static_cast<cudaStream_t>(stream.handle);
}

cudaEvent_t event_of(void* event) {
  return static_cast<cudaEvent_t>(event);
}

}  // namespace

void* cuda_allocate(Device device, std::size_t bytes) {
  select(device);
  void* pointer = nullptr;
  const cudaError_t error = cudaMalloc(&pointer, bytes ? bytes : 1);
  if (error == cudaErrorMemoryAllocation) cudaGetLastError();  // it is told here, not at the next launch
  check(error, "allocating " + std::to_string(bytes) + " bytes; lower the batch size or the resolution");
  return pointer;
}

void cuda_release(Device, void* pointer) noexcept {
  cudaFree(pointer);
}

void cuda_copy(void* to, Device to_device, const void* from, Device from_device, std::size_t bytes,
               Stream stream, bool wait) {
  if (to_device.backend == Backend::simt || from_device.backend == Backend::simt)
    throw std::invalid_argument(
        "[runtime] expected a copy between cuda and cuda or cpu, got simt: go through cpu");
  select(to_device.backend == Backend::cuda ? to_device : from_device);
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_of(stream)), "copying");
  if (wait && to_device.backend != from_device.backend)
    check(cudaStreamSynchronize(stream_of(stream)), "copying");
}

void cuda_fill_zero(Device device, void* pointer, std::size_t bytes, Stream stream) {
  select(device);
  check(cudaMemsetAsync(pointer, 0, bytes, stream_of(stream)), "filling");
}

void cuda_synchronize(Stream stream) {
  select(stream.device);
  check(cudaStreamSynchronize(stream_of(stream)), "synchronising");
}

void* cuda_allocate_pinned(Device device, std::size_t bytes) {
  select(device);
  void* pointer = nullptr;
  check(cudaHostAlloc(&pointer, bytes ? bytes : 1, cudaHostAllocDefault),
        "pinning " + std::to_string(bytes) + " bytes of host memory");
  return pointer;
}

void cuda_release_pinned(Device, void* pointer) noexcept {
  cudaFreeHost(pointer);
}

DeviceProperties cuda_properties(Device device) {
  select(device);
  cudaDeviceProp p{};
  check(cudaGetDeviceProperties(&p, device.index), "asking for the device's properties");
  DeviceProperties all;
  all.name = p.name;
  all.multiprocessors = p.multiProcessorCount;
  all.capability = 10 * p.major + p.minor;
  all.memory = p.totalGlobalMem;
  all.shared_memory = p.sharedMemPerBlockOptin;
  all.l2_cache = static_cast<std::size_t>(p.l2CacheSize);
  return all;
}

MemoryInfo cuda_memory_info(Device device) {
  select(device);
  MemoryInfo info;
  check(cudaMemGetInfo(&info.free, &info.total), "asking for the device's memory");
  return info;
}

void* cuda_create_stream(Device device) {
  select(device);
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream");
  return stream;
}

void cuda_destroy_stream(Stream stream) noexcept {
  cudaStreamDestroy(stream_of(stream));
}

void* cuda_create_event(Device device) {
  select(device);
  cudaEvent_t event = nullptr;
  check(cudaEventCreate(&event), "making an event");
  return event;
}

void cuda_destroy_event(Device, void* event) noexcept {
  cudaEventDestroy(event_of(event));
}

void cuda_record(Device device, void* event, Stream stream) {
  select(device);
  check(cudaEventRecord(event_of(event), stream_of(stream)), "recording an event");
}

void cuda_hold(void* event, Stream stream) {
  select(stream.device);
  check(cudaStreamWaitEvent(stream_of(stream), event_of(event), 0), "waiting for an event");
}

void cuda_synchronize_event(Device device, void* event) {
  select(device);
  check(cudaEventSynchronize(event_of(event)), "waiting for an event");
}

float cuda_elapsed(Device device, void* begin, void* end) {
  select(device);
  check(cudaEventSynchronize(event_of(end)), "waiting for an event");
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, event_of(begin), event_of(end)), "the time between two events");
  return milliseconds;
}

void cuda_begin_capture(Stream stream) {
  select(stream.device);
  // Relaxed: recorded work may need a block more than the pool has, and cudaMalloc is refused otherwise.
  check(cudaStreamBeginCapture(stream_of(stream), cudaStreamCaptureModeRelaxed), "beginning a capture");
}

void* cuda_end_capture(Stream stream) {
  select(stream.device);
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(stream_of(stream), &graph), "ending a capture");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  check(error, "instantiating a graph");
  return executable;
}

void cuda_abandon_capture(Stream stream) noexcept {
  cudaGraph_t graph = nullptr;
  if (cudaStreamEndCapture(stream_of(stream), &graph) == cudaSuccess && graph) cudaGraphDestroy(graph);
  cudaGetLastError();
}

void cuda_launch_graph(void* graph, Stream stream) {
  select(stream.device);
  check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), stream_of(stream)), "launching a graph");
}

void cuda_destroy_graph(void* graph) noexcept {
  cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph));
}

}  // namespace runtime
}  // namespace rtfq::kernels
