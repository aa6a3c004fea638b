#pragma once
// A caching pool of device memory: freed blocks are kept and handed out again, also to requests a few times
// smaller, so that a training step allocates nothing from the system once it has run before, and takes what
// its largest pass needs.

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "kernels/runtime/device.h"

namespace rtfq {

using kernels::Backend;
using kernels::Device;
using kernels::Stream;

/// The one stream on which the engine works on a device: tensors are filled and copied in it, operations are
/// queued in it, and memory that is freed is handed out again in its order, so that nobody waits. The CPU has
/// none; simt has one a thread, cuda one for all threads.
Stream compute_stream(Device);

/// Counts of one device's pool, in bytes unless said.
struct MemoryStatistics {
  std::size_t in_use = 0;    ///< what was asked for, rounded up a little
  std::size_t peak = 0;      ///< highest in_use since the last reset_peak
  std::size_t reserved = 0;  ///< taken from the system: in use and cached
  std::size_t requests = 0;  ///< number of allocations asked for
  std::size_t misses = 0;    ///< of these, served by the system
};

namespace memory {

/// A block of at least `bytes` bytes, 64-byte aligned, contents undefined; goes back to the pool with the
/// last owner. Thread-safe. Throws std::runtime_error when the system has no more: how much was asked for,
/// who holds what, and what to lower.
std::shared_ptr<void> allocate(Device, std::size_t bytes);
MemoryStatistics statistics(Device);

/// While it lives, what this thread allocates is held by `name` ("gradients", a literal), as the message of
/// exhausted memory and `holders` have it. Of two the inner one counts.
class HeldBy {
 public:
  explicit HeldBy(const char* name);
  ~HeldBy();
  HeldBy(const HeldBy&) = delete;
  HeldBy& operator=(const HeldBy&) = delete;

 private:
  const char* outer_;
};
/// Who holds how many bytes in use, the most first; "others": what was allocated outside of any HeldBy.
std::vector<std::pair<const char*, std::size_t>> holders(Device);

void reset_peak(Device);
/// Gives cached blocks back to the system.
void release_cached(Device);

/// Blocks for work that is recorded once and launched again (runtime::Graph): it keeps the addresses that it
/// was recorded with, so nobody else may be given them. Its blocks count in the device's statistics, are not
/// given back to the system while it lives, and go to the device's pool with it: whatever was recorded must
/// be gone by then.
class Arena {
 public:
  explicit Arena(Device);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// Bytes of its blocks that somebody holds.
  std::size_t in_use() const;

  /// While it lives, what this thread allocates on the arena's device comes from the arena. They may not
  /// nest.
  class Scope {
   public:
    explicit Scope(Arena&);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
  };

  struct Blocks;

 private:
  Device device_;
  std::shared_ptr<Blocks> blocks_;
};

}  // namespace memory
}  // namespace rtfq
