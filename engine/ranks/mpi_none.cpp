// Stands in for mpi.cpp in a build without MPI.
#include <stdexcept>

#include "engine/ranks/transport.h"

namespace rtfq::ranks {

bool has_mpi() {
  return false;
}

std::unique_ptr<Mpi> start_mpi() {
  throw std::invalid_argument("[ranks] this build has no MPI: install libopenmpi-dev and configure again");
}

}  // namespace rtfq::ranks
