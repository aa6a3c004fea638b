#include "engine/memory.h"

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <vector>

namespace rtfq::memory {
namespace {

/// Sizes are rounded up to eighths of a power of two (at least 512 bytes), so that blocks fit again although
/// batch and resolution change a little; at most 12.5 % is lost.
std::size_t size_class(std::size_t bytes) {
  if (bytes <= 512) return 512;
  const std::size_t unit = std::bit_floor(bytes - 1) / 8;
  return std::max<std::size_t>(512, (bytes + unit - 1) / unit * unit);
}

class Pool {
 public:
  explicit Pool(Device device) : device_(device) {}

  void* take(std::size_t size) {
    const std::lock_guard lock(mutex_);
    ++statistics_.requests;
    auto& blocks = free_[size];
    void* block = nullptr;
    if (!blocks.empty()) {
      block = blocks.back();
      blocks.pop_back();
    } else {
      block = from_system(size);
      ++statistics_.misses;
      statistics_.reserved += size;
    }
    statistics_.in_use += size;
    statistics_.peak = std::max(statistics_.peak, statistics_.in_use);
    return block;
  }

  void give(void* block, std::size_t size) noexcept {
    const std::lock_guard lock(mutex_);
    statistics_.in_use -= size;
    free_[size].push_back(block);
  }

  MemoryStatistics statistics() {
    const std::lock_guard lock(mutex_);
    return statistics_;
  }

  void reset_peak() {
    const std::lock_guard lock(mutex_);
    statistics_.peak = statistics_.in_use;
  }

  void release_cached() {
    const std::lock_guard lock(mutex_);
    drop_cached();
  }

 private:
  void* from_system(std::size_t size) {
    try {
      return kernels::runtime::allocate(device_, size);
    } catch (const std::exception&) {  // what is cached in other sizes may be enough
      drop_cached();
      return kernels::runtime::allocate(device_, size);
    }
  }

  void drop_cached() {
    for (auto& [size, blocks] : free_) {
      for (void* block : blocks) {
        kernels::runtime::release(device_, block);
        statistics_.reserved -= size;
      }
      blocks.clear();
    }
  }

  Device device_;
  std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> free_;
  MemoryStatistics statistics_;
};

/// One pool a device, never destroyed: tensors with static storage may outlive any order of destruction.
Pool& pool(Device device) {
  static std::mutex mutex;
  static auto& pools = *new std::map<std::pair<Backend, int>, std::unique_ptr<Pool>>;
  const std::lock_guard lock(mutex);
  auto& found = pools[{device.backend, device.index}];
  if (!found) found = std::make_unique<Pool>(device);
  return *found;
}

}  // namespace

std::shared_ptr<void> allocate(Device device, std::size_t bytes) {
  const std::size_t size = size_class(bytes);
  Pool& from = pool(device);
  return {from.take(size), [&from, size](void* block) { from.give(block, size); }};
}

MemoryStatistics statistics(Device device) {
  return pool(device).statistics();
}
void reset_peak(Device device) {
  pool(device).reset_peak();
}
void release_cached(Device device) {
  pool(device).release_cached();
}

}  // namespace rtfq::memory
