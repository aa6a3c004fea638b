// What stands in for kernels/cuda/runtime.cpp in a build without CUDA.
#include "kernels/runtime/cuda.h"

namespace rtfq::kernels {

const bool built_with_cuda = false;

namespace runtime {
namespace {

[[noreturn]] void absent() {
  throw_backend_absent("runtime", Backend::cuda);
}

}  // namespace

void* cuda_allocate(Device, std::size_t) {
  absent();
}
void cuda_release(Device, void*) noexcept {}
void cuda_copy(void*, Device, const void*, Device, std::size_t, Stream, bool) {
  absent();
}
void cuda_fill_zero(Device, void*, std::size_t, Stream) {
  absent();
}
void cuda_synchronize(Stream) {
  absent();
}
void* cuda_allocate_pinned(Device, std::size_t) {
  absent();
}
void cuda_release_pinned(Device, void*) noexcept {}
std::string cuda_missing(Device) {
  return "[cuda] this build has no cuda backend: configure with -DRTFQ_CUDA=ON, or use device cpu";
}
DeviceProperties cuda_properties(Device) {
  absent();
}
MemoryInfo cuda_memory_info(Device) {
  absent();
}
void* cuda_create_stream(Device) {
  absent();
}
void cuda_destroy_stream(Stream) noexcept {}
void* cuda_create_event(Device) {
  absent();
}
void cuda_destroy_event(Device, void*) noexcept {}
void cuda_record(Device, void*, Stream) {
  absent();
}
void cuda_hold(void*, Stream) {
  absent();
}
void cuda_synchronize_event(Device, void*) {
  absent();
}
float cuda_elapsed(Device, void*, void*) {
  absent();
}
void cuda_begin_capture(Stream) {
  absent();
}
void* cuda_end_capture(Stream) {
  absent();
}
void cuda_abandon_capture(Stream) noexcept {}
void cuda_launch_graph(void*, Stream) {
  absent();
}
void cuda_destroy_graph(void*) noexcept {}

}  // namespace runtime
}  // namespace rtfq::kernels
