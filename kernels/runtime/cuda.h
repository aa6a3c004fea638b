#pragma once
// CUDA's part of kernels/runtime, for host.cpp and stream.cpp: kernels/cuda/runtime.cpp calls the CUDA
// runtime, runtime_absent.cpp is in its place in builds without it and throws.

#include "kernels/runtime/device.h"

namespace rtfq::kernels::runtime {

void* cuda_allocate(Device, std::size_t bytes);
void cuda_release(Device, void* pointer) noexcept;
/// One of the devices is cuda, the other cuda or cpu. `wait`: a copy between host and device is done on
/// return.
void cuda_copy(void* to, Device to_device, const void* from, Device from_device, std::size_t bytes, Stream,
               bool wait);
void cuda_fill_zero(Device, void* pointer, std::size_t bytes, Stream);
void cuda_synchronize(Stream);

void* cuda_allocate_pinned(Device, std::size_t bytes);
void cuda_release_pinned(Device, void* pointer) noexcept;
/// Empty, or what is missing.
std::string cuda_missing(Device);
DeviceProperties cuda_properties(Device);
MemoryInfo cuda_memory_info(Device);

void* cuda_create_stream(Device);
void cuda_destroy_stream(Stream) noexcept;
void* cuda_create_event(Device);
void cuda_destroy_event(Device, void* event) noexcept;
void cuda_record(Device, void* event, Stream);
void cuda_hold(void* event, Stream);
void cuda_synchronize_event(Device, void* event);
float cuda_elapsed(Device, void* begin, void* end);
void cuda_begin_capture(Stream);
/// An executable graph.
void* cuda_end_capture(Stream);
void cuda_abandon_capture(Stream) noexcept;
void cuda_launch_graph(void* graph, Stream);
void cuda_destroy_graph(void* graph) noexcept;

}  // namespace rtfq::kernels::runtime
