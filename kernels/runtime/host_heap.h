#pragma once
// One heap for the large arrays of the host: what is freed joins its neighbours, and what is asked for is cut
// from the smallest piece that it fits in. A training step's passes, whose arrays are as many but of other
// sizes, then share the same memory, and after the first step the system is asked for nothing.

#include <cstddef>
#include <map>
#include <set>

namespace rtfq::kernels::runtime {

/// Not thread-safe. On huge pages (huge_pages.h).
class HostHeap {
 public:
  /// All memory must be back. It goes to the system.
  ~HostHeap() { trim(); }

  static constexpr std::size_t granule = 4096;
  /// What is taken for `bytes`.
  static constexpr std::size_t rounded(std::size_t bytes) {
    return (bytes + granule - 1) / granule * granule;
  }

  /// A multiple of `granule` in bytes and address, contents undefined; nullptr when the system has no more.
  void* take(std::size_t bytes) noexcept;
  /// `bytes`: as it was taken.
  void give(void*, std::size_t bytes) noexcept;
  /// Everything that is free goes to the system.
  void trim() noexcept;

  /// Of the system, in bytes: taken and free.
  std::size_t reserved() const { return reserved_; }
  /// How often the system was asked.
  std::size_t misses() const { return misses_; }

 private:
  using Pieces = std::map<std::byte*, std::size_t>;

  void add(std::byte* at, std::size_t bytes);
  void remove(Pieces::iterator);
  /// A piece of at least `bytes`, from the system; end() when it has no more.
  Pieces::iterator grow(std::size_t bytes);

  Pieces free_;                                           ///< by address, no two adjacent
  std::set<std::pair<std::size_t, std::byte*>> by_size_;  ///< the same
  std::size_t reserved_ = 0, misses_ = 0;
};

}  // namespace rtfq::kernels::runtime
