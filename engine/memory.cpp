#include "engine/memory.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "kernels/runtime/host_heap.h"
#include "kernels/runtime/stream.h"

namespace rtfq {

Stream compute_stream(Device device) {
  if (device.backend == Backend::cpu) return {device, nullptr};
  // Never destroyed: tensors with static storage are freed in it.
  using Streams = std::map<int, Stream>;
  static auto& of_cuda = *new Streams;
  thread_local auto& of_simt = *new Streams;
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  Streams& streams = device.backend == Backend::cuda ? of_cuda : of_simt;
  const auto found = streams.find(device.index);
  if (found != streams.end()) return found->second;
  return streams[device.index] = kernels::runtime::create_stream(device);
}

}  // namespace rtfq

namespace rtfq::memory {
namespace {

std::string mebibytes(std::size_t bytes) {
  return std::to_string((bytes + (std::size_t{1} << 19)) >> 20) + " MiB";
}

/// Blocks from here on are pieces of one heap on the CPU. The address sanitizer should see the bounds of
/// each.
#ifdef __SANITIZE_ADDRESS__
constexpr std::size_t large_block = SIZE_MAX;
#else
constexpr std::size_t large_block = std::size_t{1} << 19;
#endif

bool of_heap(Device device, std::size_t bytes) {
  return device.backend == Backend::cpu && bytes >= large_block;
}

/// What a block of `bytes` takes. Outside the heap sizes are rounded up to eighths of a power of two (at
/// least 512 bytes), so that blocks fit again although batch and resolution change a little; at most 12.5 %
/// is lost.
std::size_t block_size(Device device, std::size_t bytes) {
  if (bytes <= 512) return 512;
  if (of_heap(device, bytes)) return kernels::runtime::HostHeap::rounded(bytes);
  const std::size_t unit = std::bit_floor(bytes - 1) / 8;
  return (bytes + unit - 1) / unit * unit;
}

/// Who allocates on this thread.
constexpr const char* nobody_named = "others";
thread_local const char* holder = nobody_named;

/// Bytes in use by who holds them; few, so that looking through them all is as good as a map.
class Holders {
 public:
  void add(const char* name, std::size_t bytes) { of(name) += bytes; }
  void take_off(const char* name, std::size_t bytes) noexcept { of(name) -= bytes; }
  std::vector<std::pair<const char*, std::size_t>> sorted() const {
    auto most_first = all_;
    std::erase_if(most_first, [](const auto& one) { return one.second == 0; });
    std::stable_sort(most_first.begin(), most_first.end(),
                     [](const auto& a, const auto& b) { return a.second > b.second; });
    return most_first;
  }

 private:
  std::size_t& of(const char* name) {
    for (auto& [known, bytes] : all_)
      if (known == name || std::strcmp(known, name) == 0) return bytes;
    return all_.emplace_back(name, 0).second;
  }
  std::vector<std::pair<const char*, std::size_t>> all_;
};

struct Block {
  void* memory = nullptr;
  std::size_t size = 0;
  bool in_heap = false;
  const char* held_by = nobody_named;
};

/// Free blocks by size.
using FreeBlocks = std::map<std::size_t, std::vector<void*>>;

class Pool {
 public:
  explicit Pool(Device device) : device_(device) {}

  /// From `arena` where there is one, else from the pool's own blocks.
  Block take(std::size_t size, Arena::Blocks* arena);
  /// `size`: what was asked for.
  void give(Block block, std::size_t size, Arena::Blocks* arena) noexcept;
  /// Blocks of an arena that is gone.
  void adopt(FreeBlocks& blocks) noexcept {
    const std::lock_guard lock(mutex_);
    for (auto& [size, all] : blocks) {
      auto& mine = free_[size];
      mine.insert(mine.end(), all.begin(), all.end());
    }
  }

  MemoryStatistics statistics() {
    const std::lock_guard lock(mutex_);
    MemoryStatistics all = statistics_;
    all.reserved += heap_.reserved();
    all.misses += heap_.misses();
    return all;
  }

  void reset_peak() {
    const std::lock_guard lock(mutex_);
    statistics_.peak = statistics_.in_use;
  }

  void release_cached() {
    const std::lock_guard lock(mutex_);
    drop_cached();
  }

  std::vector<std::pair<const char*, std::size_t>> holders() {
    const std::lock_guard lock(mutex_);
    return holders_.sorted();
  }

  std::mutex& mutex() { return mutex_; }

 private:
  /// A free block of `size`, or else of up to four times that: the passes of a step have as many tensors of
  /// about as many different sizes, so that smaller subnets live in the blocks of the largest instead of
  /// beside them.
  static Block cached(FreeBlocks& free, std::size_t size) {
    for (auto at = free.lower_bound(size); at != free.end() && at->first <= 4 * size; ++at) {
      auto& blocks = at->second;
      if (blocks.empty()) continue;
      void* memory = blocks.back();
      blocks.pop_back();
      return {memory, at->first};
    }
    return {};
  }

  /// Nothing when the system has no more.
  Block from_heap(std::size_t size) {
    void* memory = heap_.take(size);
    return {memory, memory ? size : 0, true};
  }

  void* from_system(std::size_t size) {
    try {
      return kernels::runtime::allocate(device_, size);
    } catch (const std::exception&) {
      if (!kernels::runtime::available(device_)) throw;
      drop_cached();  // what is cached in other sizes may be enough
    }
    try {
      return kernels::runtime::allocate(device_, size);
    } catch (const std::exception& error) {
      std::string others;
      try {
        const auto info = kernels::runtime::memory_info(device_);
        others = ", " + mebibytes(info.free) + " of the device's " + mebibytes(info.total) + " are free";
      } catch (const std::exception&) {  // a device that does not even answer
      }
      throw std::runtime_error(
          "[memory] out of memory on " + std::string(to_string(device_.backend)) + ": " + mebibytes(size) +
          " asked for" + (holder == nobody_named ? "" : std::string(" by ") + holder) + ", " +
          mebibytes(statistics_.in_use) + " in use (" + held() + "), nothing cached" + others +
          "; lower train.batch, the bank's resolutions or train.passes, or set precision "
          "to bf16 or int8 (" +
          error.what() + ")");
    }
  }

  std::string held() const {
    std::string text;
    for (const auto& [name, bytes] : holders_.sorted())
      text += (text.empty() ? "" : ", ") + std::string(name) + " " + mebibytes(bytes);
    return text.empty() ? "by nobody" : text;
  }

  void drop_cached() {
    heap_.trim();
    if (std::all_of(free_.begin(), free_.end(), [](const auto& blocks) { return blocks.second.empty(); }))
      return;
    kernels::runtime::synchronize(compute_stream(device_));  // what was freed may still be read there
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
  FreeBlocks free_;
  MemoryStatistics statistics_;
  Holders holders_;
  kernels::runtime::HostHeap heap_;
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

/// The arena of this thread's allocations on a device, where a scope has set one.
thread_local std::shared_ptr<Arena::Blocks> current;
thread_local Device current_device;

}  // namespace

struct Arena::Blocks {
  explicit Blocks(Device device) : from(pool(device)) {}
  ~Blocks() { from.adopt(free); }
  Blocks(const Blocks&) = delete;
  Blocks& operator=(const Blocks&) = delete;

  Pool& from;
  FreeBlocks free;
  std::size_t in_use = 0;
};

namespace {

Block Pool::take(std::size_t size, Arena::Blocks* arena) {
  const std::lock_guard lock(mutex_);
  ++statistics_.requests;
  Block block = cached(arena ? arena->free : free_, size);
  if (!block.memory && !arena && of_heap(device_, size)) block = from_heap(size);
  if (!block.memory) {
    block = {from_system(size), size};
    ++statistics_.misses;
    statistics_.reserved += size;
  }
  statistics_.in_use += size;
  statistics_.peak = std::max(statistics_.peak, statistics_.in_use);
  if (arena) arena->in_use += size;
  block.held_by = holder;
  holders_.add(holder, size);
  return block;
}

void Pool::give(Block block, std::size_t size, Arena::Blocks* arena) noexcept {
  const std::lock_guard lock(mutex_);
  statistics_.in_use -= size;
  holders_.take_off(block.held_by, size);
  if (arena) arena->in_use -= size;
  if (block.in_heap) return heap_.give(block.memory, block.size);
  (arena ? arena->free : free_)[block.size].push_back(block.memory);
}

}  // namespace

std::shared_ptr<void> allocate(Device device, std::size_t bytes) {
  const std::size_t size = block_size(device, bytes);
  Pool& from = pool(device);
  auto arena = current && current_device == device ? current : nullptr;
  const Block block = from.take(size, arena.get());
  return {block.memory,
          [&from, block, size, arena = std::move(arena)](void*) { from.give(block, size, arena.get()); }};
}

Arena::Arena(Device device) : device_(device), blocks_(std::make_shared<Blocks>(device)) {}
Arena::~Arena() = default;

std::size_t Arena::in_use() const {
  const std::lock_guard lock(blocks_->from.mutex());
  return blocks_->in_use;
}

Arena::Scope::Scope(Arena& arena) {
  if (current) throw std::logic_error("[memory] an arena's scope within another's");
  current = arena.blocks_;
  current_device = arena.device_;
}
Arena::Scope::~Scope() {
  current.reset();
}

HeldBy::HeldBy(const char* name) : outer_(std::exchange(holder, name)) {}
HeldBy::~HeldBy() {
  holder = outer_;
}

std::vector<std::pair<const char*, std::size_t>> holders(Device device) {
  return pool(device).holders();
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
