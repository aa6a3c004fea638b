#pragma once
// CUDA's part of kernels/runtime/device.h, for host.cpp: kernels/cuda/runtime.cpp calls the CUDA runtime,
// runtime_absent.cpp is in its place in builds without it and throws.

#include "kernels/runtime/device.h"

namespace rtfq::kernels::runtime {

void* cuda_allocate(Device, std::size_t bytes);
void cuda_release(Device, void* pointer) noexcept;
/// One of the devices is cuda, the other cuda or cpu.
void cuda_copy(void* to, Device to_device, const void* from, Device from_device, std::size_t bytes, Stream);
void cuda_fill_zero(Device, void* pointer, std::size_t bytes, Stream);
void cuda_synchronize(Stream);

}  // namespace rtfq::kernels::runtime
