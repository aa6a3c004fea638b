#include <sys/mman.h>

#include <cstring>
#include <new>

#include "kernels/simt/runner.h"

namespace rtfq::simt {
namespace {

/// Both are NaNs as half, bfloat16, float and double; the guard's differs from the poison's, so that spilling
/// poison over a guard shows.
constexpr uint16_t poison = 0xFFFF, guard_pattern = 0xFFF5;

}  // namespace

SharedMemory::SharedMemory() {
  map();
}
SharedMemory::~SharedMemory() {
  munmap(arena_, mapped_bytes);
}

void SharedMemory::map() {
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | (arena_ ? MAP_FIXED : 0);
  void* memory = mmap(arena_, mapped_bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  arena_ = static_cast<char*>(memory);
}

void SharedMemory::fill(std::size_t from, std::size_t bytes, uint16_t pattern) {
  // By bytes: the end of an odd variable is the start of its guard.
  for (std::size_t i = from; i < from + bytes; ++i)
    arena_[i] = static_cast<char>(i % 2 ? pattern >> 8 : pattern & 0xFF);
}

void SharedMemory::begin_launch(std::size_t dynamic_bytes) {
  variables_.clear();
  dynamic_bytes_ = dynamic_bytes;
  static_bytes_ = 0;
  top_ = guard + dynamic_bytes;
  if (__asan_poison_memory_region) {
    __asan_poison_memory_region(arena_, arena_bytes);
    __asan_unpoison_memory_region(arena_ + guard, dynamic_bytes);
  }
}

void SharedMemory::begin_block() {
  // Under ThreadSanitizer a fresh mapping clears its memory of accesses: blocks that use the arena one after
  // the other are neither racing nor ordered.
  if (__tsan_create_fiber) map();
  const bool address_sanitizer = __asan_poison_memory_region != nullptr;  // guards the zones itself
  viewed_ = false;
  fill(guard, dynamic_bytes_, poison);
  if (!address_sanitizer) {
    fill(0, guard, guard_pattern);
    fill(guard + dynamic_bytes_, guard, guard_pattern);
  }
  for (const Variable& v : variables_) {
    fill(v.offset, v.bytes, poison);
    if (!address_sanitizer) {
      fill(v.offset - guard, guard, guard_pattern);
      fill(v.offset + v.bytes, guard, guard_pattern);
    }
  }
}

uint32_t SharedMemory::offset(const void* p) const {
  const std::ptrdiff_t offset = static_cast<const char*>(p) - arena_;
  if (offset < 0 || offset >= static_cast<std::ptrdiff_t>(arena_bytes))
    Runner::running().fail("a pointer that must lie in shared memory does not");
  return static_cast<uint32_t>(offset);
}

char* SharedMemory::view() {
  char* view = arena_ + arena_bytes + order_bytes;
  if (!viewed_) {
    viewed_ = true;
    fill(arena_bytes + order_bytes + guard, dynamic_bytes_, poison);
  }
  return view;
}

void SharedMemory::obscure(uint32_t from, uint32_t bytes) {
  if (viewed_ && from + bytes <= view_bytes) fill(arena_bytes + order_bytes + from, bytes, poison);
}

void SharedMemory::publish(uint32_t from, uint32_t bytes) {
  char* to = view();
  if (from + bytes > view_bytes) return;  // beyond what descriptors reach
  for (uint32_t i = from; i < from + bytes; ++i) to[i] = arena_[i];
}

const unsigned char* SharedMemory::async_view(uint32_t from, uint32_t bytes) {
  if (from < guard || from + bytes > guard + dynamic_bytes_ || from + bytes > view_bytes)
    Runner::running().fail("a descriptor reaches the " + std::to_string(bytes) + " bytes at offset " +
                           std::to_string(from) + ", outside of the dynamic shared memory at " +
                           std::to_string(guard) + " to " + std::to_string(guard + dynamic_bytes_));
  return reinterpret_cast<const unsigned char*>(view()) + from;
}

const unsigned char* SharedMemory::operand(uint32_t from, uint32_t bytes) {
  const unsigned char* seen = async_view(from, bytes);
  for (uint32_t i = 0; i < bytes; ++i) {
    const auto now = static_cast<unsigned char>(arena_[from + i]);
    // Where the view is poison something was announced, and not yet brought up to date: the product shows it.
    if (seen[i] != now && seen[i] != (poison & 0xFF))
      Runner::running().fail("wgmma reads shared memory at offset " + std::to_string(from + i - guard) +
                             ", which an ordinary store has changed: an operand was overwritten before its "
                             "product was waited for, "
                             "or it is stored without store_operand");
  }
  return seen;
}

void* SharedMemory::variable(const void* key, std::size_t bytes, const char* name) {
  for (const Variable& v : variables_)
    if (v.key == key) return arena_ + v.offset;
  // A guard of its own on either side, and a place on a 128-byte boundary.
  const std::size_t offset = (top_ + 2 * guard + 127) / 128 * 128;
  static_bytes_ += bytes;
  if (static_bytes_ > max_static_shared || static_bytes_ + dynamic_bytes_ > max_shared)
    Runner::running().fail("shared memory: with " + std::string(name) + " the block has " +
                           std::to_string(static_bytes_) + " bytes of variables and " +
                           std::to_string(dynamic_bytes_) +
                           " dynamic ones; the limits are 49152 and, together, 232448");
  variables_.push_back({key, offset, bytes, name});
  top_ = offset + bytes;
  if (__asan_unpoison_memory_region) {
    __asan_unpoison_memory_region(arena_ + offset, bytes);
    fill(offset, bytes, poison);
  } else {
    fill(offset - guard, guard, guard_pattern);
    fill(offset, bytes, poison);
    fill(offset + bytes, guard, guard_pattern);
  }
  return arena_ + offset;
}

std::string SharedMemory::broken_guard() const {
  if (__asan_poison_memory_region) return "";
  const auto intact = [&](std::size_t from) {
    for (std::size_t i = from; i < from + guard; ++i)
      if (arena_[i] != static_cast<char>(i % 2 ? guard_pattern >> 8 : guard_pattern & 0xFF)) return false;
    return true;
  };
  const auto text = [](const std::string& name, std::size_t bytes, const char* side) {
    return "shared memory: a thread wrote outside " + name + " (" + std::to_string(bytes) + " bytes), " +
           side + " it";
  };
  if (!intact(0)) return text("dynamic shared memory", dynamic_bytes_, "before");
  if (!intact(guard + dynamic_bytes_)) return text("dynamic shared memory", dynamic_bytes_, "behind");
  for (const Variable& v : variables_) {
    if (!intact(v.offset - guard)) return text(v.name, v.bytes, "before");
    if (!intact(v.offset + v.bytes)) return text(v.name, v.bytes, "behind");
  }
  return "";
}

}  // namespace rtfq::simt
