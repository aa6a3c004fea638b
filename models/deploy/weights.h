#pragma once
// Weights laid out for the kernels, shared by all subnets and contexts of a model: what comes out equal is
// kept once. They lie together in few large blocks, for the sake of huge pages: read once an inference, from
// beyond the caches, they come 2.2 times as fast as from pages of 4 KiB (Granite Rapids, virtual: 14 and
// 6.5 GB/s).

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>

namespace rtfq::deploy {

class Weights {
 public:
  /// Calls `fill` with a buffer of `bytes`, 64-byte aligned and zero, and keeps what it holds then, 64-byte
  /// aligned, or gives what is kept already and equal. Thread-safe.
  template <class Fill>
  std::shared_ptr<const void> keep(std::size_t bytes, const Fill& fill) {
    const std::shared_ptr<void> made = empty(bytes);
    fill(made.get());
    return unique(made.get(), bytes);
  }
  /// Bytes kept. What nothing uses any more is kept as long as anything in its block is used, and in the last
  /// block always: whoever asks for it again gets it.
  std::size_t bytes() const;

 private:
  struct Entry {
    std::weak_ptr<const void> data;
    std::size_t bytes;
  };
  static std::shared_ptr<void> empty(std::size_t bytes);
  std::shared_ptr<const void> unique(const void* made, std::size_t bytes);
  /// Room in a block.
  std::shared_ptr<void> take(std::size_t bytes);

  mutable std::mutex mutex_;
  std::unordered_multimap<uint64_t, Entry> entries_;
  std::shared_ptr<std::byte> block_;  ///< the last
  std::size_t block_bytes_ = 0, used_ = 0, taken_ = 0;
};

}  // namespace rtfq::deploy
