// Whose turn it is. Threads run until they wait for others (or yield at an atomic); who goes next follows the
// block's order.
#include "kernels/simt/runner.h"

#include <algorithm>
#include <cstring>

namespace rtfq::simt {
namespace {

uint64_t mix(uint64_t x) {  // splitmix64
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

uint32_t hash(uint32_t x, uint32_t salt) {
  x = ((x + 1) * 0x9E3779B1u) ^ salt;
  x ^= x >> 15;
  x *= 0x85EBCA77u;
  return x ^ (x >> 13);
}

}  // namespace

Random::Random(uint64_t seed) : state_(mix(seed) | 1) {}

uint32_t Random::operator()() {  // xorshift64
  state_ ^= state_ << 13;
  state_ ^= state_ >> 7;
  state_ ^= state_ << 17;
  return static_cast<uint32_t>(state_ >> 32);
}

const char* to_string(Wait wait) {
  switch (wait) {
    case Wait::none:
      return "nothing";
    case Wait::barrier:
      return "__syncthreads";
    case Wait::sync_warp:
      return "__syncwarp";
    case Wait::shuffle:
      return "__shfl_sync";
    case Wait::ballot:
      return "__ballot_sync";
    case Wait::wgmma:
      return "wgmma";
    case Wait::wgmma_wait:
      return "wgmma.wait_group";
    case Wait::mbarrier:
      return "mbarrier.try_wait";
    case Wait::matrix:
      return "a matrix operation of the warp";
  }
  return "?";
}

namespace device {
bool Place::operator==(const Place& other) const {
  return line == other.line && (file == other.file || std::strcmp(file, other.file) == 0);
}
}  // namespace device

Runner& Runner::here() {
  thread_local Runner runner;
  return runner;
}

Runner& Runner::running() {
  Runner& runner = here();
  if (!runner.current_) throw Error("a device function was called outside a kernel");
  return runner;
}

void Runner::grow(uint32_t threads) {
  while (threads_.size() < threads) {
    auto thread = std::make_unique<CudaThread>();
    thread->allocate(static_cast<unsigned>(threads_.size()));
    thread->reset(thread_main);
    order_.push_back(thread.get());
    threads_.push_back(std::move(thread));
  }
}

void CudaThread::start_block(uint32_t the_number, uint3 the_index) {
  number = the_number;
  index = the_index;
  done = false;
  wait = Wait::none;
  copies.clear();
  committed = 0;
  unfenced.clear();
  products.clear();
  product_groups = 0;
  products_fenced = false;
}

void Runner::begin(const Launch& launch) {
  if (current_) fail("a kernel was launched from inside a kernel: launches are the host's");
  launch_ = &launch;
  count_ = launch.block.x * launch.block.y * launch.block.z;
  grow(count_);
  warps_.resize((count_ + warp_lanes - 1) / warp_lanes);
  main_.adopt_current();
  shared_.begin_launch(launch.shared);
  blockDim = launch.block;
  gridDim = launch.grid;
}

void Runner::run_block(uint64_t block) {
  const dim3 grid = launch_->grid, shape = launch_->block;
  blockIdx = {static_cast<unsigned>(block % grid.x), static_cast<unsigned>(block / grid.x % grid.y),
              static_cast<unsigned>(block / grid.x / grid.y)};
  random_ = Random(options().seed * 0x10001 + block);
  salt_ = random_();
  order_kind_ = options().order;
  if (order_kind_ == Order::mixed) {
    constexpr Order mixed[] = {Order::uniform, Order::warps,   Order::warps,  Order::threads,
                               Order::threads, Order::forward, Order::reverse};
    order_kind_ = mixed[random_.below(7)];
  }
  shared_.begin_block();
  // Another identity for ThreadSanitizer, so that thread 5 of two blocks is not one thread to it.
  if (__tsan_create_fiber)
    std::rotate(order_.begin(), order_.begin() + random_.below(count_), order_.begin() + count_);
  ready_.clear();
  at_barrier_.clear();
  mbarriers_.clear();
  bulks_.clear();
  votes_ = 0;
  live_ = count_;
  error_.clear();
  for (uint32_t i = 0; i < warps_.size(); ++i) {
    const uint32_t lanes = std::min(warp_lanes, count_ - i * warp_lanes);
    warps_[i].meetings.clear();
    warps_[i].live = lanes == warp_lanes ? ~0u : (1u << lanes) - 1;
  }
  for (uint32_t i = 0; i < count_; ++i) {
    order_[i]->start_block(i, {i % shape.x, i / shape.x % shape.y, i / shape.x / shape.y});
    make_ready(i);
  }
  order_release(&start_order_);
  next();  // comes back when all threads are done or one has failed
  order_acquire(&end_order_);
  current_ = nullptr;
  if (error_.empty()) error_ = unfinished();
  if (error_.empty()) error_ = shared_.broken_guard();
  if (!error_.empty()) {
    discard_stacks();
    throw Error("block (" + std::to_string(blockIdx.x) + "," + std::to_string(blockIdx.y) + "," +
                std::to_string(blockIdx.z) + ") seed " + std::to_string(options().seed) + ": " + error_);
  }
}

/// Frames of threads that wait are abandoned: they own nothing.
void Runner::discard_stacks() {
  for (const auto& thread : threads_) thread->reset(thread_main);
}

uint64_t Runner::take_switches() {
  const uint64_t result = switches_;
  switches_ = 0;
  return result;
}

void Runner::thread_main(Fiber*) {
  Runner& runner = here();  // a fiber stays on one operating-system thread
  for (;;) {
    order_acquire(&runner.start_order_);
    try {
      runner.launch_->body(runner.launch_->argument);
      order_release(&runner.end_order_);
      runner.finish_thread();
      continue;
    } catch (const std::exception& error) {
      runner.error_ = error.what();
    }
    // Not from inside the handler: which exceptions are being handled is a matter of the operating-system
    // thread.
    Fiber::switch_to(*runner.current_, runner.main_);
  }
}

void Runner::finish_thread() {
  CudaThread& thread = *current_;
  thread.done = true;
  thread.wait = Wait::none;
  --live_;
  Warp& warp = warps_[thread.number / warp_lanes];
  warp.live &= ~(1u << thread.number % warp_lanes);
  for (std::size_t i = warp.meetings.size(); i-- > 0;) check_meeting(warp, i);
  if (live_ && at_barrier_.size() == live_) release_barrier();
  next();
}

/// Unwinds the thread's stack; thread_main ends the block.
void Runner::fail(const std::string& what) {
  if (!current_) throw Error(what);
  throw Error("thread (" + std::to_string(threadIdx.x) + "," + std::to_string(threadIdx.y) + "," +
              std::to_string(threadIdx.z) + "): " + what);
}

void Runner::switch_to(CudaThread& to) {
  Fiber& from = current_ ? static_cast<Fiber&>(*current_) : main_;
  if (&from == &to) return;
  ++switches_;
  current_ = &to;
  threadIdx = to.index;
  Fiber::switch_to(from, to);
}

uint32_t Runner::priority(uint32_t thread) const {
  switch (order_kind_) {
    case Order::forward:
      return max_threads - 1 - thread;
    case Order::reverse:
      return thread;
    case Order::warps:
      return (hash(thread / warp_lanes, salt_) & 0xffff0000u) | (hash(thread + 64, salt_) >> 16);
    default:
      return hash(thread, salt_);
  }
}

void Runner::make_ready(uint32_t thread) {
  if (order_kind_ == Order::uniform) {
    ready_.push_back(thread);
    return;
  }
  ready_.push_back(uint64_t{priority(thread)} << 16 | thread);
  std::push_heap(ready_.begin(), ready_.end());
}

bool Runner::pick(uint32_t& thread) {
  if (ready_.empty()) return false;
  if (order_kind_ == Order::uniform) {
    std::swap(ready_[random_.below(static_cast<uint32_t>(ready_.size()))], ready_.back());
  } else {
    std::pop_heap(ready_.begin(), ready_.end());
    const bool random = order_kind_ == Order::warps || order_kind_ == Order::threads;
    if (random && random_.below(128) == 0) salt_ = random_();
  }
  thread = static_cast<uint32_t>(ready_.back() & 0xffff);
  ready_.pop_back();
  return true;
}

/// The current thread waits, is done, or is among the ready: somebody else goes on.
void Runner::next() {
  uint32_t thread = 0;
  // Bulk copies land at any moment, at the latest when nobody can go on without them.
  if (!bulks_.empty() && options().async == Async::mixed && random_.below(32) == 0) land_one();
  while (live_ && ready_.empty() && land_one()) {
  }
  if (pick(thread)) {
    switch_to(*order_[thread]);
    return;
  }
  if (live_ == 0) {
    Fiber::switch_to(*current_, main_);
    return;
  }
  fail("deadlock: " + std::to_string(live_) + " of " + std::to_string(count_) +
       " threads cannot go on:" + waiting());
}

std::string Runner::waiting() const {
  std::string text;
  std::vector<bool> told(count_);
  for (uint32_t i = 0; i < count_; ++i) {
    if (order_[i]->done || told[i]) continue;
    const CudaThread& first = *order_[i];
    int same = 0;
    for (uint32_t j = i; j < count_; ++j)
      if (!order_[j]->done && order_[j]->wait == first.wait && order_[j]->place == first.place) {
        told[j] = true;
        ++same;
      }
    text += "\n  " + std::to_string(same) + " (the first is thread " + std::to_string(i) + ") in " +
            to_string(first.wait) + " at " + first.place.file + ":" + std::to_string(first.place.line);
  }
  return text;
}

void Runner::maybe_yield() {
  if (order_kind_ == Order::forward || order_kind_ == Order::reverse || random_.below(8)) return;
  make_ready(current_->number);
  next();
}

}  // namespace rtfq::simt
