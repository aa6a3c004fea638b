// What stands in for kernels/cuda/gpu_clock.cpp in a build without CUDA.
#include "kernels/runtime/gpu_clock.h"

namespace rtfq::kernels::runtime {

struct GpuClock::State {};

GpuClock::GpuClock(Device) {
  throw_backend_absent("gpu clock", Backend::cuda);
}
GpuClock::~GpuClock() = default;
GpuFacts GpuClock::facts() const {
  return {};
}
GpuState GpuClock::state() const {
  return {};
}
Stream GpuClock::stream() const {
  return {};
}
GpuSamples GpuClock::time(const Launch&, const GpuTiming&) {
  return {};
}
double GpuClock::seconds(const Launch&, int64_t) {
  return 0;
}
double GpuClock::copy_bandwidth() {
  return 0;
}
void GpuClock::start_profiler() {}
void GpuClock::stop_profiler() {}
GpuPeaks measure_gpu(GpuClock&, Device) {
  return {};
}

}  // namespace rtfq::kernels::runtime
