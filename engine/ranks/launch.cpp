#include "engine/ranks/launch.h"

#include <charconv>
#include <cstdlib>
#include <stdexcept>

namespace rtfq::ranks {
namespace {

constexpr int default_port = 29417;

[[noreturn]] void fail(const std::string& what) {
  throw std::invalid_argument("[ranks] " + what);
}

int number(const std::string& name, const std::string& text, int least, int most) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least || value > most)
    fail("the environment variable " + name + " is '" + text + "': expected a number from " +
         std::to_string(least) + " to " + std::to_string(most));
  return value;
}

/// Rank and number of ranks from two variables; nothing where the job has one rank.
std::optional<Launch> read_pair(const Variable& variable, Launcher launcher, const std::string& rank,
                                const std::string& ranks) {
  const std::string mine = variable(rank), all = variable(ranks);
  if (mine.empty() && all.empty()) return std::nullopt;
  if (mine.empty() || all.empty())
    fail("of " + rank + " and " + ranks + " only one is set: set both, or neither for a process on its own");
  Launch launch{launcher, 0, number(ranks, all, 1, 4096), "", 0};
  launch.rank = number(rank, mine, 0, launch.ranks - 1);
  return launch;
}

int port_of(const Variable& variable, int otherwise) {
  const std::string port = variable("MASTER_PORT");
  return port.empty() ? otherwise : number("MASTER_PORT", port, 1, 65535);
}

/// Jobs that share a host must not meet at one port. `job`: its number.
int port_of_job(const std::string& job) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(job.data(), job.data() + job.size(), value);
  if (job.empty() || error != std::errc() || end != job.data() + job.size()) return default_port;
  return 20000 + static_cast<int>(value % 20000);
}

}  // namespace

std::string environment_variable(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value ? value : "";
}

std::string first_host(const std::string& list) {
  const std::size_t bracket = list.find_first_of("[,");
  if (bracket == list.npos || list[bracket] == ',') return list.substr(0, bracket);
  const std::size_t end = list.find_first_of(",-]", bracket);
  const std::size_t close = list.find(']', bracket);
  if (end == list.npos || close == list.npos) return {};
  const std::size_t next = std::min(list.find(',', close), list.size());
  return list.substr(0, bracket) + list.substr(bracket + 1, end - bracket - 1) +
         list.substr(close + 1, next - close - 1);
}

std::optional<Launch> read_launch(const Variable& variable) {
  if (auto launch = read_pair(variable, Launcher::variables, "RANK", "WORLD_SIZE")) {
    if (launch->ranks == 1) return std::nullopt;
    launch->address = variable("MASTER_ADDR");
    if (launch->address.empty())
      fail("RANK and WORLD_SIZE are set, but not MASTER_ADDR: set it to the host of rank 0");
    launch->port = port_of(variable, default_port);
    return launch;
  }
  // A batch script has SLURM_PROCID as well, but only srun says how many tasks its step has.
  const std::string tasks = variable("SLURM_STEP_NUM_TASKS");
  for (const auto& [rank, ranks] :
       {std::pair{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"}, {"PMI_RANK", "PMI_SIZE"}}) {
    auto launch = read_pair(variable, Launcher::mpi, rank, ranks);
    // srun speaks for MPI libraries too, which need not be ours.
    const bool of_slurm = tasks == variable(ranks) && variable("SLURM_PROCID") == variable(rank);
    if (!launch || of_slurm) continue;
    if (launch->ranks == 1) return std::nullopt;
    launch->address = variable("MASTER_ADDR");
    launch->port = port_of(variable, port_of_job(variable("PMIX_NAMESPACE")));
    if (launch->address.empty() && variable("OMPI_COMM_WORLD_LOCAL_SIZE") == variable(ranks))
      launch->address = "127.0.0.1";
    return launch;
  }
  if (tasks.empty() || tasks == "1") return std::nullopt;
  auto launch = read_pair(variable, Launcher::slurm, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS");
  launch->address = variable("MASTER_ADDR");
  for (const char* list : {"SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"})
    if (launch->address.empty()) launch->address = first_host(variable(list));
  if (launch->address.empty())
    fail("srun started " + tasks +
         " tasks, but neither SLURM_STEP_NODELIST nor MASTER_ADDR says where rank 0 is");
  launch->port = port_of(variable, port_of_job(variable("SLURM_JOB_ID")));
  return launch;
}

}  // namespace rtfq::ranks
