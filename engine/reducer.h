#pragma once
// Sums over the ranks of a data-parallel job: gradients, norm statistics, the mean prediction, initial step
// sizes. One rank is the ordinary case; everything that averages over a batch asks here, so that more ranks
// change nothing else.

#include <cstdint>
#include <span>

#include "engine/tensor.h"

namespace rtfq {

class Reducer {
 public:
  virtual ~Reducer() = default;
  virtual int rank() const = 0;
  virtual int ranks() const = 0;
  /// Replaces every element by its sum over all ranks, in an order that is the same on every rank. Host
  /// memory.
  virtual void sum(std::span<double> values) = 0;
  virtual void sum(std::span<float> values) = 0;
};

/// One rank: sums are what they were.
class LocalReducer final : public Reducer {
 public:
  int rank() const override { return 0; }
  int ranks() const override { return 1; }
  void sum(std::span<double>) override {}
  void sum(std::span<float>) override {}
};

/// Sums a tensor's elements over all ranks, wherever it is; a device waits only where there are several
/// ranks.
void sum_over_ranks(const Tensor& values);

/// The process-wide reducer: a LocalReducer until set_reducer.
Reducer& reducer();
/// The caller keeps ownership; nullptr goes back to one rank.
void set_reducer(Reducer*);

}  // namespace rtfq
