#pragma once
// How this process was started: alone, or as one of several ranks of a job, and where they meet.

#include <functional>
#include <optional>
#include <string>

namespace rtfq::ranks {

enum class Launcher {
  variables,  ///< RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT, as torchrun sets them
  mpi,        ///< mpirun, or what speaks its protocol
  slurm       ///< srun without MPI: SLURM_PROCID and SLURM_STEP_NUM_TASKS
};

struct Launch {
  Launcher launcher = Launcher::variables;
  int rank = 0, ranks = 1;
  std::string address;  ///< of rank 0; may be empty with mpi, where the ranks tell each other
  int port = 0;
};

/// The value of an environment variable; empty where it is not set.
using Variable = std::function<std::string(const std::string& name)>;
std::string environment_variable(const std::string& name);

/// Empty for a process on its own (also a job of one rank). Throws std::invalid_argument for variables that
/// are there in part or make no sense, naming them.
std::optional<Launch> read_launch(const Variable& = environment_variable);

/// "gpu[03-05,9],login" is "gpu03".
std::string first_host(const std::string& slurm_list);

}  // namespace rtfq::ranks
