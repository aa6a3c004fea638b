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

  /// Before anything asks for a GPU: leaves this process the one that is its own among the ranks of its host,
  /// by CUDA_VISIBLE_DEVICES. Throws std::invalid_argument where there are fewer than ranks.
  void choose_gpu() const;
  /// From here on sums of `device`'s memory go from GPU to GPU, where that is cuda and all ranks have NCCL.
  /// All ranks call. Returns how they go: "NCCL 2.28.9", "through the host (no NCCL: ...)"; empty for the
  /// cpu.
  std::string use_device(Device);

 private:
  Launch launch_;
  std::atomic<uint64_t> entered_{0};
  std::unique_ptr<Mpi> mpi_;
  std::vector<Member> members_;
  std::vector<std::unique_ptr<Transport>> transports_;
  std::unique_ptr<Monitor> monitor_;
  std::unique_ptr<RankReducer> reducer_;
};

/// The value of CUDA_VISIBLE_DEVICES with which a process sees only its GPU, the `mine`-th of those that
/// `visible` lists (empty: of all) for `ranks` processes of one host. A list of one stays: whoever started
/// the ranks has given each its own. Throws std::invalid_argument for a list that is too short.
std::string gpu_of_rank(const std::string& visible, int mine, int ranks);

/// Values of rank 0 on every rank, in place, by a sum to which the others add nothing.
void from_first(std::span<double> values);
/// Waits until every rank is here.
void barrier();

}  // namespace rtfq::ranks
