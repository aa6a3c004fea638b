#include "kernels/simt/memory.h"

#include <execinfo.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "kernels/simt/executor.h"

namespace rtfq::simt {
namespace {

/// One reserved range, handed out from its beginning; freed blocks serve requests of the same size.
class Arena {
 public:
  static constexpr std::size_t reserved = std::size_t{64} << 30;

  /// nullptr before the first guarded allocation.
  static Arena*& existing() {
    static Arena* arena = nullptr;
    return arena;
  }
  static Arena& get() {
    static std::once_flag once;
    std::call_once(once, [] { existing() = new Arena; });
    return *existing();
  }

  bool holds(const void* pointer) const {
    const auto* at = static_cast<const std::byte*>(pointer);
    return base_ && at >= base_ && at < base_ + reserved;
  }

  void* take(std::size_t bytes) {
    const std::size_t size = (bytes + 63) / 64 * 64 + 64;  // neighbours never touch
    const std::lock_guard lock(mutex_);
    auto& same = free_[size];
    void* block = nullptr;
    if (!same.empty()) {
      block = same.back();
      same.pop_back();
    } else {
      if (!base_ || used_ + size > reserved) return nullptr;
      block = base_ + used_;
      used_ += size;
      if (open_) protect(PROT_READ | PROT_WRITE);
    }
    sizes_[block] = size;
    return block;
  }

  void give(void* block) {
    const std::lock_guard lock(mutex_);
    const auto found = sizes_.find(block);
    if (found == sizes_.end()) return;
    free_[found->second].push_back(block);
    sizes_.erase(found);
  }

  void open() {
    const std::lock_guard lock(mutex_);
    if (open_++ == 0) protect(PROT_READ | PROT_WRITE);
  }
  void close() {
    const std::lock_guard lock(mutex_);
    if (--open_ == 0) protect(PROT_NONE);
  }

 private:
  Arena() {
    void* base = mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return;
    base_ = static_cast<std::byte*>(base);
    struct sigaction action {};
    action.sa_sigaction = explain;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, &previous());
  }

  static struct sigaction& previous() {
    static struct sigaction before {};
    return before;
  }

  static void explain(int, siginfo_t* info, void*) {
    if (existing() && existing()->holds(info->si_addr)) {
      constexpr char text[] =
          "[simt] the host touched device memory outside of a kernel, copy or fill: a GPU would fault. The "
          "calls that led there:\n";
      if (write(STDERR_FILENO, text, sizeof text - 1) < 0) _exit(139);
      void* frames[32];
      backtrace_symbols_fd(frames, backtrace(frames, 32), STDERR_FILENO);
    }
    sigaction(SIGSEGV, &previous(), nullptr);  // the access is repeated and meets who was there before
  }

  void protect(int access) {
    if (used_) mprotect(base_, (used_ + 4095) / 4096 * 4096, access);
  }

  std::byte* base_ = nullptr;
  std::size_t used_ = 0;
  int open_ = 0;
  std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> free_;
  std::map<void*, std::size_t> sizes_;
};

}  // namespace

void* allocate(std::size_t bytes) {
  void* pointer = nullptr;
  if (options().guard)
    pointer = Arena::get().take(bytes);
  else if (posix_memalign(&pointer, 64, bytes ? bytes : 1))
    pointer = nullptr;
  if (pointer && bytes) {
    const DeviceAccess access;
    std::memset(pointer, 0xFF, bytes);
  }
  return pointer;
}

void release(void* pointer) noexcept {
  if (Arena* arena = Arena::existing(); arena && arena->holds(pointer))
    arena->give(pointer);
  else
    std::free(pointer);
}

DeviceAccess::DeviceAccess() {
  if (Arena* arena = Arena::existing()) {
    arena->open();
    opened_ = true;
  }
}
DeviceAccess::~DeviceAccess() {
  if (opened_) Arena::existing()->close();
}

bool may_be_device(const void* pointer) {
  return !pointer || !options().guard || (Arena::existing() && Arena::existing()->holds(pointer));
}

}  // namespace rtfq::simt
