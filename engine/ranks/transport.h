#pragma once
// How bytes get from one rank to another.

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "engine/ranks/launch.h"

namespace rtfq::ranks {

class Transport {
 public:
  virtual ~Transport() = default;
  /// Sends to one rank while it receives from another (or the same); no bytes: leaves that part out. Blocks
  /// until both are done. Only rank 0 and the neighbours in the ring are within reach. Throws
  /// std::runtime_error naming the rank that went away.
  virtual void exchange(int to, const void* out, std::size_t out_bytes, int from, void* in,
                        std::size_t in_bytes) = 0;
  /// "TCP", "MPI (Open MPI 4.1.4)".
  virtual std::string name() const = 0;
};

/// Whether this build speaks MPI.
bool has_mpi();
/// Where an MPI job meets: rank 0 calls with the port at which it listens, and all get its address and port.
class Mpi {
 public:
  virtual ~Mpi() = default;
  virtual int ranks() const = 0;
  virtual void share_address(std::string& address, int& port) = 0;
  /// As many as `wanted`, which different threads may use at the same time; one where this MPI has no
  /// threads.
  virtual std::vector<std::unique_ptr<Transport>> transports(int wanted) = 0;
};
/// Throws std::invalid_argument in a build without.
std::unique_ptr<Mpi> start_mpi();

}  // namespace rtfq::ranks
