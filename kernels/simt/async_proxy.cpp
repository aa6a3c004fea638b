// Hopper's asynchronous proxy: its view of shared memory, mbarriers, bulk copies. A bulk copy lands at a
// moment between its issue and the end of its barrier's phase; until then its destination holds poison.
#include <algorithm>

#include "kernels/simt/runner.h"

namespace rtfq::simt {

Mbarrier& Runner::mbarrier(const uint64_t* address) {
  for (Mbarrier& m : mbarriers_)
    if (m.address == address) return m;
  fail("mbarrier: used before it is initialized, or before a barrier makes that visible");
}

void* Runner::order_of(const Mbarrier& m) {
  return shared_.order_object(1000 + static_cast<uint32_t>(&m - mbarriers_.data()) % 16);
}

void Runner::mbarrier_init(const uint64_t* address, uint32_t arrivals) {
  shared_.offset(address);
  if (reinterpret_cast<uintptr_t>(address) % 8) fail("mbarrier: its address is not a multiple of 8 bytes");
  if (arrivals == 0) fail("mbarrier: a phase has at least one arrival");
  for (const Mbarrier& m : mbarriers_)
    if (m.address == address) fail("mbarrier: initialized twice");
  mbarriers_.push_back({address, arrivals, arrivals, 0, 0, false, {}});
}

void Runner::mbarrier_init_fence() {
  for (Mbarrier& m : mbarriers_) m.fenced = true;
}

/// Ends the phase if nothing of it is outstanding.
void Runner::advance(Mbarrier& m) {
  if (m.pending || m.bytes) return;
  m.pending = m.arrivals;
  ++m.phase;
  for (const uint32_t thread : m.waiting) make_ready(thread);
  m.waiting.clear();
}

void Runner::mbarrier_arrive(const uint64_t* address, uint32_t bytes) {
  Mbarrier& m = mbarrier(address);
  if (m.pending == 0)
    fail("mbarrier: more arrivals in a phase than the " + std::to_string(m.arrivals) + " it was made for");
  order_release(order_of(m));
  m.bytes += bytes;
  --m.pending;
  advance(m);
  maybe_yield();
}

void Runner::mbarrier_wait(const uint64_t* address, uint32_t parity, device::Place place) {
  Mbarrier& m = mbarrier(address);
  if (parity > 1) fail("mbarrier: a parity is 0 or 1, got " + std::to_string(parity));
  if (m.phase % 2 == parity) {
    CudaThread& thread = *current_;
    thread.wait = Wait::mbarrier;
    thread.place = place;
    m.waiting.push_back(thread.number);
    next();
    thread.wait = Wait::none;
  }
  order_acquire(order_of(mbarrier(address)));
}

void Runner::copy_bulk(const PendingBulk& bulk) {
  const auto misaligned = [](const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 != 0; };
  if (misaligned(bulk.to) || misaligned(bulk.from) || bulk.bytes % 16 || bulk.bytes == 0)
    fail("cp.async.bulk: expected addresses and a size in multiples of 16 bytes, the size not 0; got " +
         std::to_string(bulk.bytes) + " bytes");
  const uint32_t offset = shared_.offset(bulk.to);
  shared_.async_view(offset, bulk.bytes);
  if (!mbarrier(bulk.barrier).fenced) fail("cp.async.bulk: nothing fences its mbarrier's initialization");
  if (options().async == Async::early || (options().async == Async::mixed && random_.below(2))) {
    land(bulk);
    return;
  }
  auto* to = static_cast<volatile unsigned char*>(bulk.to);
  for (uint32_t i = 0; i < bulk.bytes; ++i) to[i] = 0xFF;
  shared_.publish(offset, bulk.bytes);
  bulks_.push_back(bulk);
  maybe_yield();
}

void Runner::land(const PendingBulk& bulk) {
  // No memcpy, which ThreadSanitizer would take for an access of the thread that happens to run.
  auto* to = static_cast<volatile unsigned char*>(bulk.to);
  for (uint32_t i = 0; i < bulk.bytes; ++i) to[i] = static_cast<const unsigned char*>(bulk.from)[i];
  shared_.publish(shared_.offset(bulk.to), bulk.bytes);
  Mbarrier& m = mbarrier(bulk.barrier);
  m.bytes -= bulk.bytes;
  advance(m);
}

bool Runner::land_one() {
  if (bulks_.empty()) return false;
  std::swap(bulks_[random_.below(static_cast<uint32_t>(bulks_.size()))], bulks_.back());
  const PendingBulk bulk = bulks_.back();
  bulks_.pop_back();
  land(bulk);
  return true;
}

std::string Runner::unfinished() const {
  if (!bulks_.empty())
    return "the block ended while " + std::to_string(bulks_.size()) +
           " bulk copies were on their way to its memory";
  for (uint32_t i = 0; i < count_; ++i) {
    if (!order_[i]->products.empty())
      return "thread " + std::to_string(i) +
             " ended with wgmma products that no wgmma.wait_group has waited for";
    const uint32_t first = i / 128 * 128;
    if (order_[i]->product_groups != order_[first]->product_groups)
      return "the warps of a warpgroup have committed different numbers of wgmma groups: " +
             std::to_string(order_[first]->product_groups) + " by thread " + std::to_string(first) + ", " +
             std::to_string(order_[i]->product_groups) + " by thread " + std::to_string(i);
  }
  return "";
}

namespace device {

uint32_t shared_offset(const void* p) {
  return Runner::running().shared().offset(p);
}

void note_shared_write(const void* shared, uint32_t bytes) {
  Runner& runner = Runner::running();
  auto& writes = runner.current().unfenced;
  runner.shared().obscure(runner.shared().offset(shared), bytes);
  // Of a kernel that never fences nothing needs to be kept.
  if (writes.size() == 4096) writes.clear();
  writes.push_back({runner.shared().offset(shared), bytes});
}

void fence_proxy_async() {
  Runner& runner = Runner::running();
  auto& writes = runner.current().unfenced;
  for (const UnfencedWrite& write : writes) runner.shared().publish(write.offset, write.bytes);
  writes.clear();
}

const unsigned char* async_view(uint32_t offset, uint32_t bytes) {
  return Runner::running().shared().operand(offset, bytes);
}

void mbarrier_init(uint64_t* barrier, uint32_t arrivals) {
  Runner::running().mbarrier_init(barrier, arrivals);
}
void mbarrier_init_fence() {
  Runner::running().mbarrier_init_fence();
}
void mbarrier_arrive(uint64_t* barrier, uint32_t bytes) {
  Runner::running().mbarrier_arrive(barrier, bytes);
}
void mbarrier_wait(uint64_t* barrier, uint32_t parity, Place place) {
  Runner::running().mbarrier_wait(barrier, parity, place);
}
void copy_bulk(void* shared, const void* global, uint32_t bytes, uint64_t* barrier) {
  Runner::running().copy_bulk({shared, global, bytes, barrier});
}

}  // namespace device
}  // namespace rtfq::simt
