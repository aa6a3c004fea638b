#pragma once
// Runs CUDA kernels on the CPU. Every CUDA thread is a fiber; the threads of a block take turns at barriers,
// warp operations and atomics in an order drawn from a seed, so that code which relies on an order that CUDA
// does not promise gives a wrong result under some seed. docs/simt.md says what is found and what is not. A
// kernel includes kernels/simt/simt.h; whoever steers the executor includes this header.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/simt/types.h"

namespace rtfq::simt {

/// What a kernel did wrong: a deadlock, a divergent barrier, a write past shared memory, a bad launch. The
/// message names the block, the thread, the source line and the seed.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Which runnable thread goes next. `mixed` draws one of the others for each block. Uniformly random picking
/// alone keeps warps nearly in lockstep, since a shuffle completes when its last lane has been picked; races
/// that need one warp far ahead show only when warps or threads have priorities.
enum class Order { mixed, forward, reverse, uniform, warps, threads };
/// When an asynchronous copy lands: as it is issued, as late as it may (at its wait), or either, drawn anew.
enum class Async { mixed, early, late };

/// Of the process; set between launches. First taken from the environment: RTFQ_SIMT_SEED, RTFQ_SIMT_ORDER
/// and RTFQ_SIMT_ASYNC (names as above), RTFQ_SIMT_THREADS, RTFQ_SIMT_GUARD (0 or 1).
struct Options {
  uint64_t seed = 1;
  Order order = Order::mixed;
  Async async = Async::mixed;
  /// Operating-system threads that run blocks side by side. With one a seed repeats a run exactly; more are
  /// for ThreadSanitizer and for speed.
  int os_threads = 1;
  /// Device memory that is allocated from now on is out of the host's reach (kernels/simt/memory.h), and a
  /// kernel whose arguments point elsewhere is refused.
  bool guard = false;
};
Options& options();

/// Puts the options back at the end of the scope.
class ScopedOptions {
 public:
  ScopedOptions() : before_(options()) {}
  ~ScopedOptions() { options() = before_; }
  ScopedOptions(const ScopedOptions&) = delete;
  ScopedOptions& operator=(const ScopedOptions&) = delete;

 private:
  Options before_;
};

/// Since the process began.
struct Statistics {
  uint64_t launches = 0, blocks = 0, threads = 0, switches = 0;
};
Statistics statistics();

struct Report {
  bool ok = true;
  int schedules = 0;    ///< that ran
  uint64_t seed = 0;    ///< of the first failure: options().seed = seed repeats it
  std::string message;  ///< of the first failure
};
/// Runs `body`, which launches kernels and throws when a result is wrong, under `schedules` schedules (seeds
/// first_seed, first_seed + 1, ...) and stops at the first exception.
Report check(const std::function<void()>& body, int schedules = 100, uint64_t first_seed = 1);

/// What a stream holds until it runs, for launches, copies and host functions alike.
using Task = std::function<void()>;

/// A point in a stream. Recorded when the stream gets there.
class Event {
 public:
  bool recorded() const { return *state_; }

 private:
  friend class Stream;
  std::shared_ptr<bool> state_ = std::make_shared<bool>(true);  // an event never recorded holds nobody up
};

/// A stream's tasks recorded instead of run.
class Graph {
 public:
  std::size_t size() const { return tasks_.size(); }

 private:
  friend class Stream;
  std::vector<Task> tasks_;
};

/// A queue of work. Nothing in it runs before somebody synchronises: `synchronize` runs tasks of all live
/// streams, drawing by the seed which stream goes next, until this one is empty. Two streams that must be
/// ordered and are not run in the wrong order under some seed. Streams belong to the thread that made them.
class Stream {
 public:
  Stream();
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  void submit(Task);
  void record(Event&);
  /// What is submitted from now on waits for the event as it is recorded at this moment.
  void wait(const Event&);
  /// Throws Error when the streams wait for each other, or for an event whose stream is gone.
  void synchronize();

  /// Between the two, submitted tasks go into the graph and do not run.
  void begin_capture();
  Graph end_capture();
  void launch(const Graph&);

  struct Queue;

 private:
  std::shared_ptr<Queue> queue_;
};

/// Runs all that is queued on any stream of this thread; what CUDA's default stream waits for.
void synchronize();

}  // namespace rtfq::simt
