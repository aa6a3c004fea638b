#pragma once
// All of a rank's part in a job of several: meeting, transport, sums, and the watch over the others.

#include <memory>

#include "engine/ranks/monitor.h"
#include "engine/ranks/reducer.h"
#include "engine/ranks/transport.h"

namespace rtfq::ranks {

/// While it lives, reducer() is the job's. Every rank of the job makes one and ends it.
class Group {
 public:
  /// Waits for the others. Throws std::runtime_error naming who did not come.
  explicit Group(const Launch&);
  ~Group();
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  int rank() const { return launch_.rank; }
  int ranks() const { return launch_.ranks; }
  /// "4 ranks on 2 hosts, TCP".
  std::string description() const;
  Monitor& monitor() { return *monitor_; }

 private:
  Launch launch_;
  std::atomic<uint64_t> entered_{0};
  std::unique_ptr<Mpi> mpi_;
  std::vector<Member> members_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<Monitor> monitor_;
  std::unique_ptr<RankReducer> reducer_;
};

/// Values of rank 0 on every rank, in place, by a sum to which the others add nothing.
void from_first(std::span<double> values);
/// Waits until every rank is here.
void barrier();

}  // namespace rtfq::ranks
