// Memory between guard zones, and, where that is asked for, guard pages behind them.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "kernels/catalog/catalog.h"
#include "kernels/runtime/huge_pages.h"

namespace rtfq::kernels::catalog {
namespace {

/// Large and positive as f32, bf16 or double, so that a sum shows what it read too far.
constexpr std::byte guard_byte{0x7E};
constexpr std::byte poison_byte{0xFF};
constexpr std::size_t zone = 256, alignment = 64;

bool pages_wanted = false;

/// The mappings of buffers alive, where a handler of SIGSEGV can read them.
struct Known {
  const std::byte *begin, *end, *data;
  std::size_t bytes;
};
constexpr std::size_t known_count = 512;
Known known[known_count];

void remember(const Known& one) {
  for (Known& place : known)
    if (!place.begin) {
      place = one;
      return;
    }
}

void forget(const void* begin) {
  for (Known& place : known)
    if (place.begin == begin) place = {};
}

std::size_t page() {
  static const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

}  // namespace

void guard_pages(bool wanted) {
  pages_wanted = wanted;
}

Buffer::Buffer(std::size_t bytes) : bytes_(bytes), before_(zone), after_(zone) {
  if (pages_wanted) {
    // The end of the buffer, rounded up to its alignment, is the end of a page.
    const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    const std::size_t inner = (rounded + zone + page() - 1) / page() * page();
    mapped_ = inner + 2 * page();
    mapping_ = ::mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping_ == MAP_FAILED) throw std::bad_alloc();
    std::byte* begin = static_cast<std::byte*>(mapping_) + page();
    if (::mprotect(begin, inner, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
    runtime::use_huge_pages(begin, inner);
    data_ = begin + inner - rounded;
    after_ = rounded - bytes;
    remember({static_cast<std::byte*>(mapping_), static_cast<std::byte*>(mapping_) + mapped_, data_, bytes});
  } else {
    const std::size_t total = bytes + 2 * zone;
    storage_ = static_cast<std::byte*>(runtime::allocate_host(total));
    if (!storage_) throw std::bad_alloc();
    data_ = storage_ + zone;
  }
  std::memset(data_ - before_, static_cast<int>(guard_byte), before_);
  std::memset(data_ + bytes, static_cast<int>(guard_byte), after_);
  poison();
}

Buffer::~Buffer() {
  std::free(storage_);
  if (!mapping_) return;
  forget(mapping_);
  ::munmap(mapping_, mapped_);
}

void Buffer::poison() {
  if (bytes_) std::memset(data_, static_cast<int>(poison_byte), bytes_);
}

std::ptrdiff_t Buffer::broken_guard() const {
  for (std::size_t i = 0; i < after_; ++i)
    if (data_[bytes_ + i] != guard_byte) return static_cast<std::ptrdiff_t>(i) + 1;
  for (std::size_t i = 1; i <= before_; ++i)
    if (*(data_ - i) != guard_byte) return -static_cast<std::ptrdiff_t>(i);
  return 0;
}

void describe_address(const void* address, char* text, std::size_t size) {
  const auto* at = static_cast<const std::byte*>(address);
  text[0] = 0;
  for (const Known& one : known) {
    if (!one.begin || at < one.begin || at >= one.end) continue;
    const bool behind = at >= one.data;
    const auto distance = behind ? at - one.data - static_cast<std::ptrdiff_t>(one.bytes) + 1 : one.data - at;
    std::snprintf(text, size, "%zd byte%s %s a buffer of %zu bytes", distance, distance == 1 ? "" : "s",
                  behind ? "past the last byte of" : "before", one.bytes);
    return;
  }
}

}  // namespace rtfq::kernels::catalog
