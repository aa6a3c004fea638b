// Barriers of a block and operations of a warp.
#include <cstring>

#include "kernels/simt/runner.h"

namespace rtfq::simt {
namespace {

std::string at(device::Place place) {
  return std::string(place.file) + ":" + std::to_string(place.line);
}

/// Of a lane's registers, 4 or 8 bytes. Not memcpy, which ThreadSanitizer would take for an access of the
/// thread that happens to complete the operation.
void move(void* to, const void* from, uint32_t bytes) {
  if (bytes == 4)
    *static_cast<uint32_t*>(to) = *static_cast<const uint32_t*>(from);
  else
    *static_cast<uint64_t*>(to) = *static_cast<const uint64_t*>(from);
}

}  // namespace

device::BarrierResult Runner::barrier(int vote, device::Place place) {
  CudaThread& thread = *current_;
  if (at_barrier_.empty())
    barrier_place_ = place;
  else if (!(place == barrier_place_))
    fail("divergent __syncthreads: this thread is at " + at(place) + ", " +
         std::to_string(at_barrier_.size()) + " others wait at " + at(barrier_place_));
  votes_ += vote != 0;
  const uint32_t round = barrier_round_ % 2;
  order_release(shared_.order_object(1020 + round));
  thread.wait = Wait::barrier;
  thread.place = place;
  at_barrier_.push_back(thread.number);
  if (at_barrier_.size() == live_) release_barrier();
  next();
  thread.wait = Wait::none;
  order_acquire(shared_.order_object(1020 + round));
  return barrier_result_[round];
}

/// Threads that have returned do not hold a barrier up.
void Runner::release_barrier() {
  barrier_result_[barrier_round_ % 2] = {votes_, static_cast<int>(at_barrier_.size())};
  ++barrier_round_;
  votes_ = 0;
  salt_ = random_();
  for (const uint32_t thread : at_barrier_) make_ready(thread);
  at_barrier_.clear();
}

void Runner::meet(uint32_t mask, Offer& offer, device::Place place) {
  CudaThread& thread = *current_;
  Warp& warp = warps_[thread.number / warp_lanes];
  const uint32_t lane = thread.number % warp_lanes;
  const char* name = to_string(offer.kind);
  if (!(mask >> lane & 1)) {
    char digits[16];
    std::snprintf(digits, sizeof digits, "0x%08x", mask);
    fail(std::string(name) + " at " + at(place) + ": the calling lane " + std::to_string(lane) +
         " is not in its mask " + digits);
  }
  std::size_t i = 0;
  while (i < warp.meetings.size() && warp.meetings[i].mask != mask) ++i;
  if (i == warp.meetings.size())
    warp.meetings.push_back({mask, 0, offer.kind, place, shared_.order_object(meeting_orders_++ % 1000)});
  else if (warp.meetings[i].kind != offer.kind)
    fail("warp operations disagree: " + std::string(name) + " at " + at(place) + ", but other lanes are in " +
         to_string(warp.meetings[i].kind) + " at " + at(warp.meetings[i].place));
  warp.meetings[i].arrived |= 1u << lane;
  thread.offer = &offer;
  thread.wait = offer.kind;
  thread.place = place;
  // Shuffles and votes order no memory.
  if (offer.kind == Wait::sync_warp) order_release(warp.meetings[i].order);
  check_meeting(warp, i);
  next();
  thread.wait = Wait::none;
  if (offer.kind == Wait::sync_warp) order_acquire(thread.order);
}

void Runner::check_meeting(Warp& warp, std::size_t i) {
  const Meeting meeting = warp.meetings[i];
  if (meeting.arrived != (meeting.mask & warp.live)) return;
  const auto first = static_cast<uint32_t>(&warp - warps_.data()) * warp_lanes;
  complete(meeting, &order_[first]);
  for (uint32_t lane = 0; lane < warp_lanes; ++lane)
    if (meeting.arrived >> lane & 1) {
      order_[first + lane]->order = meeting.order;
      make_ready(first + lane);
    }
  warp.meetings.erase(warp.meetings.begin() + static_cast<std::ptrdiff_t>(i));
}

void Runner::complete(const Meeting& meeting, CudaThread* const* lanes) {
  const auto for_lanes = [&](auto&& f) {
    for (uint32_t lane = 0; lane < warp_lanes; ++lane)
      if (meeting.arrived >> lane & 1) f(lane, *lanes[lane]->offer);
  };
  if (meeting.kind == Wait::shuffle)
    for_lanes([&](uint32_t lane, const Offer& offer) {
      if (!(meeting.arrived >> offer.aux & 1))
        fail("__shfl_sync at " + at(meeting.place) + ": lane " + std::to_string(lane) + " reads lane " +
             std::to_string(offer.aux) + ", which is not in the mask or has returned");
      move(offer.result, lanes[offer.aux]->offer->value, offer.bytes);
    });
  if (meeting.kind == Wait::ballot) {
    uint32_t votes = 0;
    for_lanes([&](uint32_t lane, const Offer& offer) { votes |= static_cast<uint32_t>(offer.aux) << lane; });
    for_lanes([&](uint32_t, const Offer& offer) { *static_cast<uint32_t*>(offer.result) = votes; });
  }
  if (meeting.kind == Wait::matrix) {
    Offer* all[warp_lanes];
    if (meeting.arrived != ~0u)
      fail("matrix operation at " + at(meeting.place) + ": not all 32 lanes of the warp take part");
    for (uint32_t lane = 0; lane < warp_lanes; ++lane) {
      all[lane] = lanes[lane]->offer;
      if (all[lane]->combine != all[0]->combine)
        fail("matrix operation at " + at(meeting.place) + ": lanes of one warp disagree which");
    }
    all[0]->combine(all);
  }
}

namespace device {

BarrierResult barrier(int vote, Place place) {
  return Runner::running().barrier(vote, place);
}

void sync_warp(unsigned mask, Place place) {
  Offer offer{Wait::sync_warp};
  Runner::running().meet(mask, offer, place);
}

unsigned ballot(unsigned mask, int vote, Place place) {
  unsigned result = 0;
  Offer offer{Wait::ballot, nullptr, &result, 4, vote != 0};
  Runner::running().meet(mask, offer, place);
  return result;
}

void shuffle_bytes(unsigned mask, const void* value, void* result, uint32_t bytes, int source_lane,
                   Place place) {
  Offer offer{Wait::shuffle, value, result, bytes, source_lane};
  Runner::running().meet(mask, offer, place);
}

int lane() {
  return static_cast<int>(Runner::running().current().number % warp_lanes);
}
void maybe_yield() {
  Runner::running().maybe_yield();
}

void fence() {
  static uint64_t order;
  order_acquire(&order);
  order_release(&order);
}

void* shared_variable(const void* key, std::size_t bytes, const char* name) {
  return Runner::running().shared().variable(key, bytes, name);
}
void* dynamic_shared() {
  return Runner::running().shared().dynamic();
}

}  // namespace device
}  // namespace rtfq::simt
