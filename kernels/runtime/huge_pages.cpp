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
  void* at = nullptr;
  // Not aligned_alloc, which wants a multiple of the alignment.
  if (::posix_memalign(&at, bytes >= huge_page ? huge_page : 64, bytes ? bytes : 64) != 0) return nullptr;
  use_huge_pages(at, bytes);
  return at;
}

}  // namespace rtfq::kernels::runtime
