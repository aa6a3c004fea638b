#include "kernels/runtime/host_heap.h"

#include <sys/mman.h>

#include <cstdint>
#include <iterator>

#include "kernels/runtime/huge_pages.h"

namespace rtfq::kernels::runtime {

void HostHeap::add(std::byte* at, std::size_t bytes) {
  auto after = free_.lower_bound(at);
  if (after != free_.end() && after->first == at + bytes) {
    bytes += after->second;
    const auto joined = after++;
    remove(joined);
  }
  if (after != free_.begin())
    if (const auto before = std::prev(after); before->first + before->second == at) {
      at = before->first;
      bytes += before->second;
      remove(before);
    }
  free_[at] = bytes;
  by_size_.insert({bytes, at});
}

void HostHeap::remove(Pieces::iterator piece) {
  by_size_.erase({piece->second, piece->first});
  free_.erase(piece);
}

// The system puts a mapping right below the one before, where it joins whatever is free there.
HostHeap::Pieces::iterator HostHeap::grow(std::size_t bytes) {
  const std::size_t missing = (bytes + huge_page - 1) / huge_page * huge_page;
  void* at = ::mmap(nullptr, missing, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return free_.end();
  use_huge_pages(at, missing);
  ++misses_;
  reserved_ += missing;
  add(static_cast<std::byte*>(at), missing);
  return std::prev(free_.upper_bound(static_cast<std::byte*>(at)));
}

void* HostHeap::take(std::size_t bytes) noexcept {
  if (bytes > PTRDIFF_MAX) return nullptr;
  bytes = rounded(bytes);
  const auto fit = by_size_.lower_bound({bytes, nullptr});
  const auto piece = fit != by_size_.end() ? free_.find(fit->second) : grow(bytes);
  if (piece == free_.end()) return nullptr;
  const auto [at, size] = *piece;
  remove(piece);
  if (size > bytes) add(at + bytes, size - bytes);
  return at;
}

void HostHeap::give(void* at, std::size_t bytes) noexcept {
  add(static_cast<std::byte*>(at), rounded(bytes));
}

void HostHeap::trim() noexcept {
  for (const auto& [at, bytes] : free_) {
    ::munmap(at, bytes);
    reserved_ -= bytes;
  }
  free_.clear();
  by_size_.clear();
}

}  // namespace rtfq::kernels::runtime
