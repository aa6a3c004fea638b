#include "engine/ranks/group.h"

#include <algorithm>
#include <set>
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
      listener = listen_on(0, launch_.ranks + 16);
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
  if (mpi_)
    transport_ = mpi_->transport();
  else
    transport_ = std::make_unique<TcpTransport>(launch_, meeting);
  monitor_ = std::make_unique<Monitor>(launch_, members_, std::move(meeting.control), entered_);
  reducer_ = std::make_unique<RankReducer>(*transport_, launch_.rank, launch_.ranks, entered_);
  set_reducer(reducer_.get());
}

Group::~Group() {
  set_reducer(nullptr);
}

std::string Group::description() const {
  std::set<std::string> hosts;
  for (const Member& member : members_) hosts.insert(member.host);
  return std::to_string(launch_.ranks) + " ranks on " + std::to_string(hosts.size()) +
         (hosts.size() == 1 ? " host, " : " hosts, ") + transport_->name();
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
