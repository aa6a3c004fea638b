// How ranks find out that they are some, meet, and add.
#include <catch2/catch.hpp>
#include <map>

#include "engine/random.h"
#include "engine/ranks/group.h"
#include "engine/ranks/launch.h"
#include "tests/ranks/as_ranks.h"

using namespace rtfq;
using namespace rtfq::ranks;
using Catch::Matchers::Contains;
using test::as_ranks;

namespace {

std::optional<Launch> launch_with(const std::map<std::string, std::string>& variables) {
  return read_launch([&](const std::string& name) {
    const auto found = variables.find(name);
    return found == variables.end() ? std::string() : found->second;
  });
}

/// Values whose sums are exact in any order, of `rank`.
template <class T>
std::vector<T> values(std::size_t count, int rank) {
  Random random(3, rtfq::Purpose::test, static_cast<uint64_t>(rank));
  std::vector<T> out(count);
  for (T& value : out) value = static_cast<T>(static_cast<int>(random.below(2001)) - 1000) / 8;
  return out;
}

template <class T>
void check_sums(int ranks, std::size_t count) {
  std::vector<T> expected(count);
  for (int rank = 0; rank < ranks; ++rank) {
    const std::vector<T> part = values<T>(count, rank);
    for (std::size_t i = 0; i < count; ++i) expected[i] += part[i];
  }
  std::vector<char> right(static_cast<std::size_t>(ranks));
  as_ranks(ranks, [&](RankReducer& reducer) {
    std::vector<T> mine = values<T>(count, reducer.rank());
    reducer.sum(std::span<T>(mine));
    right[static_cast<std::size_t>(reducer.rank())] = mine == expected;
  });
  CHECK(right == std::vector<char>(static_cast<std::size_t>(ranks), 1));
}

}  // namespace

TEST_CASE("ranks: sums are right and the same everywhere") {
  for (const int ranks : {2, 3, 4})
    for (const std::size_t count :
         {std::size_t{1}, std::size_t{1000}, std::size_t{8193}, std::size_t{300'001}}) {
      INFO(ranks << " ranks, " << count << " values");
      check_sums<float>(ranks, count);
      check_sums<double>(ranks, count);
    }
  // Rounding makes the order matter: the bits must be those of every other rank, and come again.
  std::vector<std::vector<float>> results(8);
  std::vector<uint64_t> sent(4);
  for (int time = 0; time < 2; ++time)
    as_ranks(4, [&](RankReducer& reducer) {
      Random random(4, rtfq::Purpose::test, static_cast<uint64_t>(reducer.rank()));
      std::vector<float> mine(50'000);
      for (float& value : mine) value = random.normal();
      reducer.sum(std::span<float>(mine));
      sent[static_cast<std::size_t>(reducer.rank())] = reducer.traffic().bytes;
      results[static_cast<std::size_t>(time * 4 + reducer.rank())] = mine;
    });
  for (const std::vector<float>& result : results) CHECK(result == results.front());
  // Round the ring, 2 (n - 1) / n of the bytes.
  CHECK(sent == std::vector<uint64_t>(4, 4 * 2 * 3 * 50'000 / 4));
}

TEST_CASE("ranks: which GPU is a rank's own") {
  CHECK(gpu_of_rank("", 3, 8) == "3");
  CHECK(gpu_of_rank("2,5,GPU-3a", 0, 2) == "2");
  CHECK(gpu_of_rank("2,5,GPU-3a", 2, 3) == "GPU-3a");
  CHECK(gpu_of_rank("6", 3, 4) == "6");  // the launcher gave each its own
  CHECK_THROWS_WITH(gpu_of_rank("0,1", 1, 4), Contains("lists 2 GPUs (0,1) for 4 ranks"));
}

TEST_CASE("ranks: what the environment says") {
  CHECK_FALSE(launch_with({}));
  CHECK_FALSE(launch_with({{"RANK", "0"}, {"WORLD_SIZE", "1"}}));
  const auto launch =
      launch_with({{"RANK", "3"}, {"WORLD_SIZE", "4"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "99"}});
  REQUIRE(launch);
  CHECK(launch->rank == 3);
  CHECK(launch->ranks == 4);
  CHECK(launch->address == "a");
  CHECK(launch->port == 99);
  const auto mpi = launch_with({{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"}});
  REQUIRE(mpi);
  CHECK(mpi->launcher == Launcher::mpi);
  CHECK(mpi->address.empty());
  const auto here = launch_with({{"OMPI_COMM_WORLD_RANK", "1"},
                                 {"OMPI_COMM_WORLD_SIZE", "2"},
                                 {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                                 {"PMIX_NAMESPACE", "3000000011"}});
  REQUIRE(here);
  CHECK(here->address == "127.0.0.1");
  CHECK(here->port == 20011);
  // A batch script is no rank; a task of srun is one.
  CHECK_FALSE(launch_with({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}}));
  const auto slurm = launch_with({{"SLURM_PROCID", "2"},
                                  {"SLURM_STEP_NUM_TASKS", "8"},
                                  {"SLURM_STEP_NODELIST", "gpu[03-04]"},
                                  {"SLURM_JOB_ID", "1000007"}});
  REQUIRE(slurm);
  CHECK(slurm->address == "gpu03");
  CHECK(slurm->port == 20007);
  const auto with_pmi = launch_with({{"PMI_RANK", "2"},
                                     {"PMI_SIZE", "8"},
                                     {"SLURM_PROCID", "2"},
                                     {"SLURM_STEP_NUM_TASKS", "8"},
                                     {"SLURM_STEP_NODELIST", "a,b"}});
  REQUIRE(with_pmi);
  CHECK(with_pmi->launcher == Launcher::slurm);
  CHECK(first_host("a1") == "a1");
  CHECK(first_host("a1,b2") == "a1");
  CHECK(first_host("n[7,9]-ib,m") == "n7-ib");
  CHECK(first_host("n[7") == "");

  const auto refused = [](const std::map<std::string, std::string>& variables, const char* why) {
    CHECK_THROWS_WITH(launch_with(variables), Contains(why));
  };
  refused({{"RANK", "0"}}, "only one is set");
  refused({{"RANK", "4"}, {"WORLD_SIZE", "4"}, {"MASTER_ADDR", "a"}}, "RANK is '4'");
  refused({{"RANK", "0"}, {"WORLD_SIZE", "x"}, {"MASTER_ADDR", "a"}}, "WORLD_SIZE is 'x'");
  refused({{"RANK", "0"}, {"WORLD_SIZE", "2"}}, "MASTER_ADDR");
  refused({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "0"}},
          "MASTER_PORT is '0'");
}

TEST_CASE("ranks: strangers at the port are turned away") {
  Socket listener = listen_on(0, 8);
  const int port = port_of(listener);
  const auto soon = Clock::now() + std::chrono::seconds(20);
  std::string error;
  const Socket stranger = connect_before("127.0.0.1", port, soon, error);
  REQUIRE(stranger.send_all(
      "GET / HTTP/1.1\r\n\r\n-----------------------------------------------------------------------"
      "--------------------",
      100, soon));
  const Socket friendly = connect_before("127.0.0.1", port, soon, error);
  REQUIRE(friendly.send(hello_of({Launcher::variables, 1, 2, "", 0}, ranks::Purpose::control, 7), soon));
  Hello hello;
  CHECK(accept_hello(listener, 2, soon, hello).open());
  CHECK(hello.rank == 1);
  CHECK(hello.port == 7);
}
