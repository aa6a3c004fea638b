#include "tools/bench/profile.h"

#include <cstdio>

#include "kernels/plugin/host.h"
#include "tools/bench/gpu_timing.h"
#include "tools/bench/subject.h"
#include "tools/command.h"

extern "C" {
void rtfq_profile_start();
void rtfq_profile_stop();
[[gnu::noinline]] void rtfq_profile_start() {
  asm volatile("");
}
[[gnu::noinline]] void rtfq_profile_stop() {
  asm volatile("");
}
}

namespace rtfq::lab {

int profile(const std::vector<Item>& items, const std::vector<std::string>& plugins) {
  if (items.size() != 1)
    throw cli::UsageError("[run] --profile launches one item, and these options mean " +
                          std::to_string(items.size()) + ": name one implementation and one shape");
  for (const std::string& file : plugins) kernels::plugin::load(file);
  const auto instance = make_instance(items.front(), false);
  const Item item = named(items.front(), *instance);
  const kernels::Device device = kernels::parse_device(item.device);
  const bool gpu = device.backend == kernels::Backend::cuda;
  kernels::catalog::use_cuda_device(device.index);
  instance->prepare(device.backend, item.implementation);
  if (gpu) gpu_clock(device).start_profiler();
  rtfq_profile_start();
  gpu ? instance->launch(gpu_clock(device).stream()) : instance->launch();
  rtfq_profile_stop();
  if (gpu) gpu_clock(device).stop_profiler();
  std::printf("launched %s once\n", item.name().c_str());
  return cli::done;
}

}  // namespace rtfq::lab
