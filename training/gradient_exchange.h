#pragma once
// Gradients become their sums over all ranks, in buckets of 1 MiB. All passes of a step add to the same
// gradients; those rows of a weight that only wider subnets have are complete once their passes are done, and
// others once the backward of the last pass has left them behind. A thread of its own sums them over a second
// channel while the passes go on.

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "engine/autograd.h"
#include "engine/reducer.h"

namespace rtfq {

/// Of one step. On a device sums are queued behind the last pass, where the gradients are. On the cpu, what
/// is in which bucket, and their order, follow from the step's passes and the order in which the last one
/// reads parameters, which are the same on all ranks; so the bits do not depend on whether anything is
/// overlapped.
class GradientExchange final : public BackwardWatch {
 public:
  /// Pass `pass` leaves alone what is behind so many leading rows of the parameter's gradient.
  using Reach = std::function<int64_t(std::size_t pass, const Parameter&)>;

  /// `passes`: of the step, whose tapes this watches; empty `reach`: all may add to everything. `overlap`:
  /// where the reducer has sums beside the computation, and gradients are in the host's memory.
  GradientExchange(std::span<Parameter* const> parameters, Reducer&, bool overlap, std::size_t passes = 1,
                   Reach reach = {});
  /// After a step that failed: waits for the buckets that were ready, which the other ranks have or will
  /// have ready too, and leaves the others. Where all ranks failed alike the channel is in order.
  ~GradientExchange() override;
  GradientExchange(const GradientExchange&) = delete;
  GradientExchange& operator=(const GradientExchange&) = delete;

  /// Throws std::logic_error where the pass reads more of a parameter than `reach` said.
  void begins(std::span<const Read> reads) override;
  void has_run(std::size_t node) override;

  /// A pass, but not the last, has added to its gradients.
  void pass_done();

  /// Sums what has not been summed, with or without a backward that was watched. Throws what went wrong in
  /// the thread.
  void finish();
  /// Seconds that finish() waited for the thread.
  double waited() const { return waited_; }
  /// Seconds that the thread's sums took while the pass was computing.
  double overlapped() const { return overlapped_; }

 private:
  /// Consecutive elements of a gradient.
  struct Piece {
    float* at;
    std::size_t count;
    std::size_t node;  ///< the last to add to it in backward
  };
  struct Bucket {
    std::vector<Piece> pieces;
    std::size_t node;  ///< the same, of all its pieces
  };

  int64_t reach(std::size_t pass, const Parameter&) const;
  void fill_buckets(std::vector<Piece>);
  void start();
  void sum(const Bucket&, Reducer&);
  void sum_on_device();
  void release(std::size_t node);
  void work();

  const std::span<Parameter* const> parameters_;
  Reducer& reducer_;
  const Device device_;
  Reducer* const beside_;
  const std::size_t passes_;
  const Reach reach_;
  std::size_t pass_ = 0;
  std::vector<int64_t> left_;  ///< of each parameter, the leading rows that are in no bucket yet
  std::vector<float> values_;
  bool begun_ = false;  ///< backward of the last pass
  double waited_ = 0, overlapped_ = 0;

  std::mutex mutex_;  ///< of what follows
  std::condition_variable changed_;
  std::deque<Bucket> buckets_;
  std::size_t ready_ = 0;  ///< so many buckets may go
  bool last_ = false;      ///< no more will become ready
  double busy_ = 0;
  std::exception_ptr error_;
  std::thread thread_;
};

}  // namespace rtfq
