#pragma once
// What the intrinsics of device_host.h call: the executor as a running CUDA thread sees it.

#include <cstddef>
#include <cstdint>

#include "kernels/simt/executor.h"

namespace rtfq::simt::device {

struct Place {
  const char* file = "";
  int line = 0;
  static constexpr Place current(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
  bool operator==(const Place&) const;
};

struct BarrierResult {
  int votes, arrived;
};

BarrierResult barrier(int vote, Place);
void sync_warp(unsigned mask, Place);
unsigned ballot(unsigned mask, int vote, Place);
void shuffle_bytes(unsigned mask, const void* value, void* result, uint32_t bytes, int source_lane, Place);
int lane();
/// At an atomic: another thread may go first.
void maybe_yield();
void fence();

/// The block's variable of that key; a key's first use lays it out.
void* shared_variable(const void* key, std::size_t bytes, const char* name);
void* dynamic_shared();

/// Moves one word, or zeros from nullptr. It is the kernel's own code, so that sanitizers see its accesses.
using CopyFunction = void(void* shared, const void* global);
void copy_async(void* shared, const void* global, uint32_t bytes, CopyFunction*);
void copy_async_commit();
void copy_async_wait(uint32_t groups);

// Hopper's asynchronous proxy (hopper_host.h). It has a view of shared memory of its own: what threads write
// reaches it when they fence, so that a missing fence leaves it poison or what was there before.

/// Bytes from where shared memory begins: what cvta.to.shared makes of a pointer.
uint32_t shared_offset(const void*);
/// The calling thread has written these bytes of shared memory: its next fence publishes them.
void note_shared_write(const void* shared, uint32_t bytes);
void fence_proxy_async();
/// The asynchronous proxy's view of a place in the block's dynamic shared memory.
const unsigned char* async_view(uint32_t offset, uint32_t bytes);

void mbarrier_init(uint64_t* barrier, uint32_t arrivals);
void mbarrier_init_fence();
/// Expects `bytes` more of bulk copies in this phase, then arrives.
void mbarrier_arrive(uint64_t* barrier, uint32_t bytes);
void mbarrier_wait(uint64_t* barrier, uint32_t parity, Place);
void copy_bulk(void* shared, const void* global, uint32_t bytes, uint64_t* barrier);

/// Adds one warpgroup product to the calling lane's accumulators.
using ProductFunction = void(void* accumulators, uint64_t a, uint64_t b);
void wgmma(void* accumulators, uint64_t a, uint64_t b, ProductFunction*, Place);
void wgmma_fence(Place);
void wgmma_commit(Place);
void wgmma_wait(uint32_t groups, Place);

/// Throws Error unless a GPU of compute capability 8 or 9 would take the launch.
void check_launch(dim3 grid, dim3 block, std::size_t shared);
/// Throws Error where allocations are guarded and an argument points to the host's memory.
void check_pointer(const void* argument);
/// Runs the grid to its end; `body` is called by every CUDA thread.
void run(dim3 grid, dim3 block, std::size_t shared, void (*body)(void*), void* argument);

}  // namespace rtfq::simt::device
