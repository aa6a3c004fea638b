#include "tools/bench/counters.h"

#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

namespace rtfq::lab {
namespace {

struct Event {
  const char* name;
  uint64_t config;
};
constexpr Event events[] = {{"cycles", PERF_COUNT_HW_CPU_CYCLES},
                            {"instructions", PERF_COUNT_HW_INSTRUCTIONS},
                            {"cache_misses", PERF_COUNT_HW_CACHE_MISSES}};

int open_event(uint64_t config, pid_t thread) {
  perf_event_attr attributes;
  std::memset(&attributes, 0, sizeof attributes);
  attributes.size = sizeof attributes;
  attributes.type = PERF_TYPE_HARDWARE;
  attributes.config = config;
  attributes.disabled = 1;
  attributes.exclude_kernel = 1;
  return static_cast<int>(::syscall(SYS_perf_event_open, &attributes, thread, -1, -1, 0));
}

/// OpenMP's threads exist by now: one counter each.
std::vector<pid_t> threads() {
  std::vector<pid_t> ids;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task"))
    ids.push_back(std::stoi(entry.path().filename().string()));
  return ids;
}

}  // namespace

void count_events(kernels::catalog::Instance& instance, Row& row) {
  const int launches = static_cast<int>(std::clamp<int64_t>(row.iterations, 1, 20));
  for (const Event& event : events) {
    std::vector<int> files;
    for (const pid_t thread : threads())
      if (const int file = open_event(event.config, thread); file >= 0) files.push_back(file);
    if (files.empty()) return;
    for (const int file : files) ::ioctl(file, PERF_EVENT_IOC_ENABLE, 0);
    for (int i = 0; i < launches; ++i) instance.launch();
    double total = 0;
    for (const int file : files) {
      ::ioctl(file, PERF_EVENT_IOC_DISABLE, 0);
      uint64_t count = 0;
      if (::read(file, &count, sizeof count) == sizeof count) total += static_cast<double>(count);
      ::close(file);
    }
    if (total > 0) row.counters[event.name] = total / launches;
  }
}

}  // namespace rtfq::lab
