#include "kernels/cpu/caches.h"

#include <sched.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

using rtfq::kernels::cpu::last_level_cache;
namespace fs = std::filesystem;

namespace {

/// A cache as the system lists it.
void list(const fs::path& sysfs, int cpu, int index, const char* level, const char* type, const char* size,
          const std::string& shared) {
  const fs::path folder = sysfs / ("cpu" + std::to_string(cpu)) / "cache" / ("index" + std::to_string(index));
  fs::create_directories(folder);
  std::ofstream(folder / "level") << level << "\n";
  std::ofstream(folder / "type") << type << "\n";
  std::ofstream(folder / "size") << size << "\n";
  std::ofstream(folder / "shared_cpu_list") << shared << "\n";
}

}  // namespace

TEST_CASE("caches: a shared one counts once, others each") {
  cpu_set_t mine;
  CPU_ZERO(&mine);
  REQUIRE(sched_getaffinity(0, sizeof mine, &mine) == 0);
  const fs::path root = fs::temp_directory_path() / ("rtfq-caches-" + std::to_string(::getpid()));
  const fs::path shared = root / "shared", own = root / "own";
  int cpus = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &mine)) continue;
    ++cpus;
    const std::string alone = std::to_string(cpu);
    for (const fs::path& sysfs : {shared, own}) {
      list(sysfs, cpu, 0, "1", "Data", "48K", alone);
      list(sysfs, cpu, 1, "1", "Instruction", "64M", alone);
      list(sysfs, cpu, 2, "2", "Unified", "1024K", alone);
    }
    list(shared, cpu, 3, "3", "Unified", "32768K", "0-63");
    list(own, cpu, 3, "3", "Unified", "16M", alone);
  }
  CHECK(last_level_cache(shared) == 32 << 20);
  CHECK(last_level_cache(own) == int64_t{cpus} * (16 << 20));
  CHECK(last_level_cache(root / "nothing") == 0);
  fs::remove_all(root);
}
