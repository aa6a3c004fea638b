#pragma once
// Gradients become their sums over all ranks, in buckets of some MiB. Those that the backward of a step's
// last pass has left behind go off in a thread of its own while it computes the others: before that pass no
// gradient that it adds to is complete, as all passes of a step add to the same.

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "engine/autograd.h"
#include "engine/reducer.h"

namespace rtfq {

/// Of one step. On a device sums are queued behind the last pass, where the gradients are. On the cpu, what
/// is in which bucket, and their order, follow from the order in which the last pass reads parameters, which
/// is the same on all ranks; so the bits do not depend on whether anything is overlapped.
class GradientExchange final : public BackwardWatch {
 public:
  /// Of those parameters that passes have touched when the last one's backward begins. `overlap`: where the
  /// reducer has sums beside the computation, and gradients are in the host's memory.
  GradientExchange(std::span<Parameter* const> parameters, Reducer&, bool overlap);
  /// After a step that failed: waits for the buckets that were ready, which the other ranks have or will
  /// have ready too, and leaves the others. Where all ranks failed alike the channel is in order.
  ~GradientExchange() override;
  GradientExchange(const GradientExchange&) = delete;
  GradientExchange& operator=(const GradientExchange&) = delete;

  void begins(std::span<const Read> reads) override;
  void has_run(std::size_t node) override;

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

  void fill_buckets(std::vector<Piece>);
  void sum(const Bucket&, Reducer&);
  void sum_on_device();
  void release(std::size_t node);
  void work();

  const std::span<Parameter* const> parameters_;
  Reducer& reducer_;
  const Device device_;
  Reducer* const beside_;
  std::vector<Bucket> buckets_;
  std::vector<float> values_;
  bool begun_ = false;
  double waited_ = 0, overlapped_ = 0;

  std::mutex mutex_;  ///< of what follows
  std::condition_variable changed_;
  std::size_t ready_ = 0;  ///< so many buckets may go
  bool last_ = false;      ///< no more will become ready
  double busy_ = 0;
  std::exception_ptr error_;
  std::thread thread_;
};

}  // namespace rtfq
