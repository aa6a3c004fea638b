#include "tools/bench/gpu_timing.h"

#include <map>

namespace rtfq::lab {

kernels::runtime::GpuClock& gpu_clock(const kernels::Device& device) {
  static std::map<int, std::unique_ptr<kernels::runtime::GpuClock>> clocks;
  auto& clock = clocks[device.index];
  if (!clock) clock = std::make_unique<kernels::runtime::GpuClock>(device);
  return *clock;
}

void time_on_gpu(kernels::catalog::Instance& instance, const kernels::Device& device,
                 const Settings& settings, Row& row) {
  const auto samples =
      gpu_clock(device).time([&](kernels::Stream stream) { instance.launch(stream); },
                             {!settings.warm, settings.samples, settings.noise, settings.seconds});
  row.seconds = samples.device;
  row.end_to_end = samples.end_to_end;
  row.iterations = samples.launches;
  row.noisy = !samples.quiet;
  const auto& state = samples.state;
  row.counters = {{"sm_mhz", state.sm_mhz},
                  {"memory_mhz", state.memory_mhz},
                  {"celsius", state.celsius},
                  {"watts", state.watts},
                  {"slowed", static_cast<double>(state.slowed)},
                  {"discarded", samples.discarded}};
}

double gpu_seconds(kernels::catalog::Instance& instance, const kernels::Device& device, int64_t launches) {
  return gpu_clock(device).seconds([&](kernels::Stream stream) { instance.launch(stream); }, launches);
}

}  // namespace rtfq::lab
