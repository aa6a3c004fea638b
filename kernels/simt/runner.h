#pragma once
// Runs the blocks of a launch on one operating-system thread: whose turn it is, who waits at which barrier or
// warp operation, and the block's shared memory. Internal to the executor.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/simt/device_runtime.h"
#include "kernels/simt/fiber.h"

namespace rtfq::simt {

constexpr uint32_t warp_lanes = 32, max_threads = 1024;
constexpr std::size_t max_static_shared = 48 << 10, max_shared = 227 << 10;

class Random {
 public:
  /// Streams of different seeds are unrelated, also those of neighbouring ones.
  explicit Random(uint64_t seed = 1);
  uint32_t operator()();
  uint32_t below(uint32_t n) { return static_cast<uint32_t>((uint64_t{(*this)()} * n) >> 32); }

 private:
  uint64_t state_;
};

enum class Wait : uint8_t { none, barrier, sync_warp, shuffle, ballot, wgmma, wgmma_wait, mbarrier, matrix };
const char* to_string(Wait);

/// What one lane brings to a warp operation.
struct Offer {
  Wait kind;
  const void* value = nullptr;
  void* result = nullptr;
  uint32_t bytes = 0;
  int aux = 0;  ///< source lane of a shuffle, vote of a ballot
  /// Of a matrix operation: computes every lane's result from what all of them brought.
  void (*combine)(Offer* const* lanes) = nullptr;
};

struct PendingCopy {
  void* to;
  const void* from;
  device::CopyFunction* copy;
  uint32_t group, bytes;
};

/// Bytes that a thread has written and the asynchronous proxy does not see yet.
struct UnfencedWrite {
  uint32_t offset, bytes;
};

/// A lane's part of a warpgroup product that was issued.
struct PendingProduct {
  void* accumulators;
  uint64_t a, b;
  device::ProductFunction* product;
  uint32_t group;
};

struct Mbarrier {
  const uint64_t* address;
  uint32_t arrivals;  ///< of one phase
  int64_t pending, bytes;
  uint32_t phase;
  bool fenced;
  std::vector<uint32_t> waiting;
};

/// A bulk copy on its way.
struct PendingBulk {
  void* to;
  const void* from;
  uint32_t bytes;
  const uint64_t* barrier;
};

struct CudaThread : Fiber {
  uint3 index{};
  uint32_t number = 0;  ///< in the block
  bool done = true;
  Wait wait = Wait::none;
  device::Place place;
  Offer* offer = nullptr;
  void* order = nullptr;  ///< what to acquire when a warp operation ends
  std::vector<PendingCopy> copies;
  uint32_t committed = 0;
  std::vector<UnfencedWrite> unfenced;
  std::vector<PendingProduct> products;
  uint32_t product_groups = 0;
  bool products_fenced = false;  ///< a wgmma.fence since the last group

  void start_block(uint32_t number, uint3 index);
};

/// Lanes that meet in one warp operation.
struct Meeting {
  uint32_t mask, arrived;
  Wait kind;
  device::Place place;
  void* order;
};

struct Warp {
  uint32_t live = 0;
  std::vector<Meeting> meetings;
};

/// One launch, shared by the runners that take its blocks.
struct Launch {
  dim3 grid, block;
  std::size_t shared;
  void (*body)(void*);
  void* argument;
};

/// Shared memory of one block at a time: dynamic first, then variables as their keys first show up, each
/// between guard zones. Everything starts as poison that is a NaN in every float format.
class SharedMemory {
 public:
  SharedMemory();
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  void begin_launch(std::size_t dynamic_bytes);
  void begin_block();
  /// An empty string, or which variable was written outside of, and where.
  std::string broken_guard() const;
  void* dynamic() { return arena_ + guard; }
  uint32_t offset(const void* p) const;
  /// Makes the asynchronous proxy's view undefined, and brings it up to date.
  void obscure(uint32_t offset, uint32_t bytes);
  void publish(uint32_t offset, uint32_t bytes);
  const unsigned char* async_view(uint32_t offset, uint32_t bytes);
  /// The same of what a product reads: fails where memory was changed since and nobody said so.
  const unsigned char* operand(uint32_t offset, uint32_t bytes);
  void* variable(const void* key, std::size_t bytes, const char* name);
  /// Objects for ThreadSanitizer's orderings, mapped afresh with the arena for every block.
  void* order_object(uint32_t i) { return arena_ + arena_bytes + i % 1024 * 8; }

 private:
  static constexpr std::size_t guard = 128, arena_bytes = 320 << 10, order_bytes = 1024 * 8,
                               view_bytes = 256 << 10, mapped_bytes = arena_bytes + order_bytes + view_bytes;
  struct Variable {
    const void* key;
    std::size_t offset, bytes;
    const char* name;
  };
  void map();
  void fill(std::size_t from, std::size_t bytes, uint16_t pattern);
  char* view();

  char* arena_ = nullptr;
  bool viewed_ = false;  ///< in this block
  std::size_t top_ = 0, dynamic_bytes_ = 0, static_bytes_ = 0;
  std::vector<Variable> variables_;
};

class Runner {
 public:
  /// The one of this operating-system thread.
  static Runner& here();
  /// The one that is running a block here; throws Error when none is.
  static Runner& running();

  void begin(const Launch&);
  /// Throws Error with what went wrong.
  void run_block(uint64_t block);
  uint64_t take_switches();

  // For the running CUDA thread.
  CudaThread& current() { return *current_; }
  [[noreturn]] void fail(const std::string& what);
  device::BarrierResult barrier(int vote, device::Place);
  void meet(uint32_t mask, Offer&, device::Place);
  void maybe_yield();
  void mbarrier_init(const uint64_t* barrier, uint32_t arrivals);
  void mbarrier_init_fence();
  void mbarrier_arrive(const uint64_t* barrier, uint32_t bytes);
  void mbarrier_wait(const uint64_t* barrier, uint32_t parity, device::Place);
  void copy_bulk(const PendingBulk&);
  /// What is left of the asynchronous proxy's work when all threads have returned: an error, or nothing.
  std::string unfinished() const;
  Random& random() { return random_; }
  SharedMemory& shared() { return shared_; }

 private:
  static void thread_main(Fiber*);
  void grow(uint32_t threads);
  void discard_stacks();
  void finish_thread();
  void switch_to(CudaThread& to);
  void next();
  bool pick(uint32_t& thread);
  void make_ready(uint32_t thread);
  uint32_t priority(uint32_t thread) const;
  void release_barrier();
  void check_meeting(Warp&, std::size_t meeting);
  void complete(const Meeting&, CudaThread* const* lanes);
  Mbarrier& mbarrier(const uint64_t* barrier);
  void* order_of(const Mbarrier&);
  void advance(Mbarrier&);
  void land(const PendingBulk&);
  /// One of the bulk copies on their way, if there are any.
  bool land_one();
  std::string waiting() const;

  const Launch* launch_ = nullptr;
  Fiber main_;
  CudaThread* current_ = nullptr;  ///< null: the operating-system thread itself
  std::vector<std::unique_ptr<CudaThread>> threads_;
  std::vector<CudaThread*> order_;  ///< by number in the block
  std::vector<Warp> warps_;
  std::vector<uint64_t> ready_;  ///< priority << 16 | thread, a heap unless the order is uniform
  std::vector<uint32_t> at_barrier_;
  std::vector<Mbarrier> mbarriers_;
  std::vector<PendingBulk> bulks_;
  device::Place barrier_place_;
  int votes_ = 0;
  uint32_t barrier_round_ = 0;
  device::BarrierResult barrier_result_[2] = {};
  uint32_t count_ = 0, live_ = 0, salt_ = 0, meeting_orders_ = 0;
  Order order_kind_ = Order::forward;
  Random random_;
  SharedMemory shared_;
  std::string error_;
  uint64_t switches_ = 0;
  uint64_t start_order_ = 0, end_order_ = 0;
};

}  // namespace rtfq::simt
