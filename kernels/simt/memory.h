#pragma once
// Memory of the executor's device. It is the host's, but with Options::guard it lies in one range of
// addresses that only kernels, copies and fills can touch: a host that reads or writes it elsewhere ends with
// SIGSEGV and a message, as it would find nothing there on a GPU.

#include <cstddef>

namespace rtfq::simt {

/// A block aligned to 64 bytes that starts as NaNs; nullptr when there is no more.
void* allocate(std::size_t bytes);
void release(void*) noexcept;

/// Device memory can be touched while one lives (on any thread: the lock is the process's). They nest.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;

 private:
  bool opened_ = false;
};

/// Whether a kernel may be given this pointer: null, or, where allocations are guarded, device memory.
bool may_be_device(const void*);

}  // namespace rtfq::simt
