#pragma once
// Weights laid out for the kernels, shared by all subnets and contexts of a model: what comes out equal is
// kept once.

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>

namespace rtfq::deploy {

class Weights {
 public:
  /// Calls `fill` with a buffer of `bytes`, 64-byte aligned and zero, and keeps what it holds then, or gives
  /// what is kept already and equal. Thread-safe.
  template <class Fill>
  std::shared_ptr<const void> keep(std::size_t bytes, const Fill& fill) {
    std::shared_ptr<void> made = empty(bytes);
    fill(made.get());
    return unique(std::move(made), bytes);
  }
  /// Bytes kept.
  std::size_t bytes() const;

 private:
  struct Entry {
    std::weak_ptr<const void> data;
    std::size_t bytes;
  };
  static std::shared_ptr<void> empty(std::size_t bytes);
  std::shared_ptr<const void> unique(std::shared_ptr<void>, std::size_t bytes);

  mutable std::mutex mutex_;
  std::unordered_multimap<uint64_t, Entry> entries_;
};

}  // namespace rtfq::deploy
