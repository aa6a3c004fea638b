#pragma once
// Sums over the ranks of a data-parallel job: gradients, norm statistics, the mean prediction, initial step
// sizes. One rank is the ordinary case; everything that averages over a batch asks here, so that more ranks
// change nothing else.

#include <cstdint>
#include <span>

#include "engine/tensor.h"
#include "kernels/runtime/collective.h"

namespace rtfq {

/// What sums have cost this rank so far.
struct Traffic {
  uint64_t bytes = 0;  ///< sent
  uint64_t sums = 0;
  double seconds = 0;  ///< spent in them, waiting for slower ranks included
};

class Reducer {
 public:
  virtual ~Reducer() = default;
  virtual int rank() const = 0;
  virtual int ranks() const = 0;
  /// Replaces every element by its sum over all ranks, in an order that is the same on every rank. Host
  /// memory.
  virtual void sum(std::span<double> values) = 0;
  virtual void sum(std::span<float> values) = 0;
  virtual Traffic traffic() const { return {}; }
  /// Sums of the memory of a device, in the order of a stream. All ranks use the same kind of device.
  virtual kernels::runtime::Collective& on(Device);
  /// Sums over a channel of its own, for another thread to make meanwhile: those of one do not wait for those
  /// of the other. Null where there is none.
  virtual Reducer* beside() { return nullptr; }
};

/// One rank: sums are what they were.
class LocalReducer final : public Reducer {
 public:
  int rank() const override { return 0; }
  int ranks() const override { return 1; }
  void sum(std::span<double>) override {}
  void sum(std::span<float>) override {}
};

/// Sums a dense f32 tensor's elements over all ranks, wherever it is.
void sum_over_ranks(const Tensor& values);

/// The process-wide reducer: a LocalReducer until set_reducer.
Reducer& reducer();
/// The caller keeps ownership; nullptr goes back to one rank.
void set_reducer(Reducer*);

/// Whether norms take their statistics over the images of all ranks (the default) or over this rank's own.
bool norms_over_ranks();
void set_norms_over_ranks(bool);
/// Sums of a norm over all ranks, unless norms keep to their own rank's images.
void sum_norms_over_ranks(const Tensor& values);

/// The process works alone while one lives: sums are its own.
class AloneScope {
 public:
  AloneScope();
  ~AloneScope();
  AloneScope(const AloneScope&) = delete;
  AloneScope& operator=(const AloneScope&) = delete;

 private:
  Reducer* before_;
};

}  // namespace rtfq
