#include "models/deploy/weights.h"

#include <cstring>
#include <string_view>

#include "kernels/runtime/device.h"

namespace rtfq::deploy {

std::shared_ptr<void> Weights::empty(std::size_t bytes) {
  void* memory = kernels::runtime::allocate({}, bytes);
  std::memset(memory, 0, bytes);
  return {memory, [](void* p) { kernels::runtime::release({}, p); }};
}

std::shared_ptr<const void> Weights::unique(std::shared_ptr<void> made, std::size_t bytes) {
  const uint64_t hash = std::hash<std::string_view>()({static_cast<const char*>(made.get()), bytes});
  const std::lock_guard lock(mutex_);
  for (auto [entry, end] = entries_.equal_range(hash); entry != end;) {
    const std::shared_ptr<const void> kept = entry->second.data.lock();
    if (kept && entry->second.bytes == bytes && std::memcmp(kept.get(), made.get(), bytes) == 0) return kept;
    entry = kept ? std::next(entry) : entries_.erase(entry);
  }
  entries_.emplace(hash, Entry{made, bytes});
  return made;
}

std::size_t Weights::bytes() const {
  const std::lock_guard lock(mutex_);
  std::size_t sum = 0;
  for (const auto& [hash, entry] : entries_)
    if (!entry.data.expired()) sum += entry.bytes;
  return sum;
}

}  // namespace rtfq::deploy
