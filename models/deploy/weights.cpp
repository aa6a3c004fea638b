#include "models/deploy/weights.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "kernels/runtime/device.h"

namespace rtfq::deploy {

std::shared_ptr<void> Weights::empty(std::size_t bytes) {
  void* memory = kernels::runtime::allocate({}, bytes);
  std::memset(memory, 0, bytes);
  return {memory, [](void* p) { kernels::runtime::release({}, p); }};
}

std::shared_ptr<const void> Weights::unique(const void* made, std::size_t bytes) {
  const uint64_t hash = std::hash<std::string_view>()({static_cast<const char*>(made), bytes});
  const std::lock_guard lock(mutex_);
  for (auto [entry, end] = entries_.equal_range(hash); entry != end;) {
    const std::shared_ptr<const void> kept = entry->second.data.lock();
    if (kept && entry->second.bytes == bytes && std::memcmp(kept.get(), made, bytes) == 0) return kept;
    entry = kept ? std::next(entry) : entries_.erase(entry);
  }
  const std::shared_ptr<void> kept = take(bytes);
  std::memcpy(kept.get(), made, bytes);
  entries_.emplace(hash, Entry{kept, bytes});
  return kept;
}

// A block as large as all before it together: small models do not pay for large ones' blocks.
std::shared_ptr<void> Weights::take(std::size_t bytes) {
  constexpr std::size_t least = std::size_t{256} << 10, most = std::size_t{16} << 20, line = 64;
  const std::size_t rounded = (bytes + line - 1) / line * line;
  if (used_ + rounded > block_bytes_) {
    block_bytes_ = std::max(rounded, std::clamp(taken_, least, most));
    block_ = {static_cast<std::byte*>(kernels::runtime::allocate({}, block_bytes_)),
              [](std::byte* p) { kernels::runtime::release({}, p); }};
    used_ = 0;
  }
  taken_ += rounded;
  return {block_, block_.get() + std::exchange(used_, used_ + rounded)};
}

std::size_t Weights::bytes() const {
  const std::lock_guard lock(mutex_);
  std::size_t sum = 0;
  for (const auto& [hash, entry] : entries_)
    if (!entry.data.expired()) sum += entry.bytes;
  return sum;
}

}  // namespace rtfq::deploy
