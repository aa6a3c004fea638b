#pragma once
// Sums over the ranks of a job on top of any transport.

#include <atomic>
#include <memory>
#include <vector>

#include "engine/ranks/transport.h"
#include "engine/reducer.h"

namespace rtfq::ranks {

/// Two ranks send each other all they have. Of more, short spans meet at rank 0, which adds them in the order
/// of ranks and sends the sum back: two hops. Long ones go round the ring in as many pieces as there are
/// ranks (reduce-scatter, then all-gather): each rank sends 2 (n-1)/n of the bytes; the pieces' sums start at
/// different ranks, but each is made once and copied. So the bits are the same on every rank and at every
/// repetition, whatever the transport.
class RankReducer final : public Reducer {
 public:
  /// `entered` counts the sums that this rank has gone into; a monitor reads it from its own thread.
  RankReducer(Transport&, int rank, int ranks, std::atomic<uint64_t>& entered);
  /// `second`: for the sums of beside(); null: there are none.
  RankReducer(Transport& first, Transport* second, int rank, int ranks, std::atomic<uint64_t>& entered);
  int rank() const override { return rank_; }
  int ranks() const override { return ranks_; }
  void sum(std::span<double> values) override;
  void sum(std::span<float> values) override;
  /// With the bytes of beside(), which must be at rest; seconds are of this one's sums alone.
  Traffic traffic() const override;
  Reducer* beside() override { return beside_.get(); }
  /// Through the host, unless use() has given another way.
  kernels::runtime::Collective& on(Device) override;
  void use(std::unique_ptr<kernels::runtime::Collective> collective) { collective_ = std::move(collective); }

 private:
  template <class T>
  void reduce(std::span<T> values);
  template <class T>
  void pair(std::span<T> values);
  template <class T>
  void star(std::span<T> values);
  template <class T>
  void ring(std::span<T> values);
  void exchange(int to, const void* out, std::size_t out_bytes, int from, void* in, std::size_t in_bytes);

  Transport& transport_;
  int rank_, ranks_;
  std::atomic<uint64_t>& entered_;
  Traffic traffic_;
  std::vector<char> buffer_;
  std::unique_ptr<RankReducer> beside_;
  std::unique_ptr<kernels::runtime::Collective> collective_;
};

}  // namespace rtfq::ranks
