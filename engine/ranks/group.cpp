#include "engine/ranks/group.h"

#include <algorithm>
#include <cstdlib>
#include <set>
#include <sstream>
#include <stdexcept>

#include "engine/ranks/tcp.h"

namespace rtfq::ranks {

Group::Group(const Launch& launch) : launch_(launch) {
  Socket listener;
  if (launch_.launcher == Launcher::mpi && has_mpi()) {
    mpi_ = start_mpi();
    if (mpi_->ranks() != launch_.ranks)
      throw std::runtime_error("[ranks] the environment speaks of " + std::to_string(launch_.ranks) +
                               " ranks, MPI of " + std::to_string(mpi_->ranks()) +
                               ": start with the mpirun of the MPI that this was built with, or set RANK, "
                               "WORLD_SIZE and MASTER_ADDR");
    int port = 0;
    if (launch_.rank == 0) {
      listener = listen_on(0, 2 * launch_.ranks + 16);
      port = port_of(listener);
    }
    mpi_->share_address(launch_.address, port);
    launch_.port = port;
  } else {
    if (launch_.address.empty())
      throw std::invalid_argument(
          "[ranks] mpirun started this process on several hosts, but this build has no MPI: install "
          "libopenmpi-dev and configure again, or set MASTER_ADDR to the host of rank 0 and the ranks meet "
          "by "
          "TCP");
    if (launch_.rank == 0) listener = listen_on(launch_.port, 2 * launch_.ranks + 16);
  }
  Meeting meeting = meet(launch_, std::move(listener));
  members_ = meeting.members;
  // The second is for sums beside the computation.
  constexpr int channels = 2;
  if (mpi_)
    transports_ = mpi_->transports(channels);
  else
    for (auto& transport : TcpTransport::connect(launch_, meeting, channels))
      transports_.push_back(std::move(transport));
  monitor_ = std::make_unique<Monitor>(launch_, members_, std::move(meeting.control), entered_);
  reducer_ = std::make_unique<RankReducer>(*transports_.front(),
                                           transports_.size() > 1 ? transports_[1].get() : nullptr,
                                           launch_.rank, launch_.ranks, entered_);
  set_reducer(reducer_.get());
}

Group::~Group() {
  set_reducer(nullptr);
}

std::string Group::description() const {
  std::set<std::string> hosts;
  for (const Member& member : members_) hosts.insert(member.host);
  return std::to_string(launch_.ranks) + " ranks on " + std::to_string(hosts.size()) +
         (hosts.size() == 1 ? " host, " : " hosts, ") + transports_.front()->name();
}

std::string gpu_of_rank(const std::string& visible, int mine, int ranks) {
  if (visible.empty()) return std::to_string(mine);
  std::vector<std::string> listed;
  std::istringstream words(visible);
  for (std::string word; std::getline(words, word, ',');) listed.push_back(word);
  if (listed.size() == 1) return visible;
  if (listed.size() < static_cast<std::size_t>(ranks))
    throw std::invalid_argument("[ranks] CUDA_VISIBLE_DEVICES lists " + std::to_string(listed.size()) +
                                " GPUs (" + visible + ") for " + std::to_string(ranks) +
                                " ranks on this host: list one for each, or start fewer ranks");
  return listed[static_cast<std::size_t>(mine)];
}

void Group::choose_gpu() const {
  const auto mine = static_cast<std::size_t>(launch_.rank);
  int before = 0, all = 0;
  for (std::size_t rank = 0; rank < members_.size(); ++rank) {
    if (members_[rank].host != members_[mine].host) continue;
    if (rank < mine) ++before;
    ++all;
  }
  const std::string own = gpu_of_rank(environment_variable("CUDA_VISIBLE_DEVICES"), before, all);
  ::setenv("CUDA_VISIBLE_DEVICES", own.c_str(), 1);
}

std::string Group::use_device(Device device) {
  using namespace kernels::runtime;
  if (device.backend == Backend::cpu) return {};
  if (device.backend != Backend::cuda) return reducer_->on(device).name();
  const std::string missing = nccl_missing();
  float without = missing.empty() ? 0 : 1;
  reducer_->sum(std::span(&without, 1));
  if (without > 0)
    return reducer_->on(device).name() + " (no NCCL: " + (missing.empty() ? "not on all ranks" : missing) +
           ")";
  NcclId id = launch_.rank == 0 ? make_nccl_id() : NcclId();
  std::vector<double> bytes(id.bytes.begin(), id.bytes.end());
  from_first(bytes);
  std::copy(bytes.begin(), bytes.end(), id.bytes.begin());
  reducer_->use(make_nccl(device, id, launch_.rank, launch_.ranks));
  return reducer_->on(device).name();
}

void from_first(std::span<double> values) {
  if (reducer().ranks() == 1) return;
  if (reducer().rank() != 0) std::fill(values.begin(), values.end(), 0.0);
  reducer().sum(values);
}

void barrier() {
  float nothing = 0;
  reducer().sum(std::span(&nothing, 1));
}

}  // namespace rtfq::ranks
