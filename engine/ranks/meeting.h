#pragma once
// How the ranks of a job find each other: all connect to rank 0, which tells everybody who is where.

#include <string>
#include <vector>

#include "engine/ranks/launch.h"
#include "engine/ranks/socket.h"

namespace rtfq::ranks {

/// What an error calls a rank.
struct Member {
  std::string host, address;
  int process = 0, port = 0;
  std::string shown(int rank) const {
    return "rank " + std::to_string(rank) + " (process " + std::to_string(process) + " on " + host + ")";
  }
};

/// Everybody's connections once all have met.
struct Meeting {
  std::vector<Member> members;  ///< by rank
  /// Rank 0: one to each other rank, by rank (the first is not open). Others: one to rank 0.
  std::vector<Socket> control;
  Socket listener;  ///< for connections that carry data
};

/// Seconds that ranks wait for each other: RTFQ_RANK_TIMEOUT, 600 unless set.
double patience();

/// Throws std::runtime_error naming the ranks that did not come in time. `listener`: rank 0's, already
/// listening.
Meeting meet(const Launch&, Socket listener);

/// What a new connection says of itself first.
enum class Purpose : uint32_t { control = 1, star = 2, ring = 3 };
struct Hello {
  char magic[8] = {'R', 'T', 'F', 'Q', 'R', 'A', 'N', 'K'};
  uint32_t version = 2;
  Purpose purpose = Purpose::control;
  int32_t channel = 0;  ///< of star and ring
  int32_t rank = 0, ranks = 0, process = 0, port = 0;
  char host[64] = {};
};
/// The next connection that says a hello of this job; strangers are dropped.
Socket accept_hello(const Socket& listener, int ranks, Clock::time_point deadline, Hello&);
Hello hello_of(const Launch&, Purpose, int port);

}  // namespace rtfq::ranks
