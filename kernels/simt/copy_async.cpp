// cp.async: a copy lands at a moment between its issue and the wait for its group. Until then its destination
// holds poison, so that a missing wait shows.
#include <cstring>

#include "kernels/simt/runner.h"

namespace rtfq::simt::device {

void copy_async(void* shared, const void* global, uint32_t bytes, CopyFunction* copy) {
  Runner& runner = Runner::running();
  CudaThread& thread = runner.current();
  if (reinterpret_cast<uintptr_t>(shared) % bytes || reinterpret_cast<uintptr_t>(global) % bytes)
    runner.fail("cp.async: an address is not a multiple of " + std::to_string(bytes) + " bytes");
  const Async when = options().async;
  if (when == Async::early || (when == Async::mixed && runner.random().below(2))) {
    copy(shared, global);
    note_shared_write(shared, bytes);
    return;
  }
  std::memset(shared, 0xFF, bytes);
  runner.shared().obscure(runner.shared().offset(shared), bytes);
  thread.copies.push_back({shared, global, copy, thread.committed, bytes});
}

void copy_async_commit() {
  ++Runner::running().current().committed;
}

void copy_async_wait(uint32_t groups) {
  CudaThread& thread = Runner::running().current();
  std::size_t kept = 0;
  for (std::size_t i = 0; i < thread.copies.size(); ++i) {
    const PendingCopy pending = thread.copies[i];
    if (pending.group + groups < thread.committed) {
      pending.copy(pending.to, pending.from);
      note_shared_write(pending.to, pending.bytes);
    } else {
      thread.copies[kept++] = pending;
    }
  }
  thread.copies.resize(kept);
}

}  // namespace rtfq::simt::device
