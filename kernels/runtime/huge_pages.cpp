#include "kernels/runtime/huge_pages.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>

namespace rtfq::kernels::runtime {

void use_huge_pages(void* at, std::size_t bytes) noexcept {
  const auto begin = reinterpret_cast<std::uintptr_t>(at), end = begin + bytes;
  const auto first = (begin + huge_page - 1) / huge_page * huge_page, last = end / huge_page * huge_page;
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
}

void* allocate_host(std::size_t bytes) noexcept {
  const std::size_t alignment = bytes >= huge_page ? huge_page : 64;
  const std::size_t rounded = bytes ? (bytes + 63) / 64 * 64 : 64;
  if (rounded < bytes) return nullptr;
  void* const at = std::aligned_alloc(alignment, rounded);
  if (at) use_huge_pages(at, rounded);
  return at;
}

}  // namespace rtfq::kernels::runtime
