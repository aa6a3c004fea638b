#include "kernels/cpu/caches.h"

#include <sched.h>

#include <fstream>
#include <map>

namespace rtfq::kernels::cpu {
namespace {

std::string line_of(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

/// "32768K"
int64_t bytes_of(const std::string& size) {
  std::size_t end = 0;
  int64_t value = 0;
  for (; end < size.size() && end < 12 && size[end] >= '0' && size[end] <= '9'; ++end)
    value = value * 10 + (size[end] - '0');
  const char unit = end < size.size() ? size[end] : ' ';
  return unit == 'K' ? value << 10 : unit == 'M' ? value << 20 : value;
}

}  // namespace

int64_t last_level_cache(const std::string& sysfs) {
  cpu_set_t mine;
  CPU_ZERO(&mine);
  if (::sched_getaffinity(0, sizeof mine, &mine) != 0) return 0;
  // The processors that share a cache name it.
  std::map<std::string, std::map<std::string, int64_t>> levels;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &mine)) continue;
    for (int index = 0;; ++index) {
      const std::string folder =
          sysfs + "/cpu" + std::to_string(cpu) + "/cache/index" + std::to_string(index) + "/";
      const std::string level = line_of(folder + "level");
      if (level.empty()) break;
      if (line_of(folder + "type") == "Instruction") continue;
      levels[level][line_of(folder + "shared_cpu_list")] = bytes_of(line_of(folder + "size"));
    }
  }
  if (levels.empty()) return 0;
  int64_t bytes = 0;
  for (const auto& [sharing, size] : levels.rbegin()->second) bytes += size;
  return bytes;
}

}  // namespace rtfq::kernels::cpu
