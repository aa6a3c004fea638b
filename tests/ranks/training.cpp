// Jobs of several ranks as processes: the same training whatever their number, and what happens when one
// dies.
#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <thread>

#include "engine/ranks/socket.h"
#include "engine/ranks/transport.h"
#include "engine/safetensors.h"
#include "tests/support/numeric.h"
#include "tests/support/skip.h"
#include "tests/tools/command.h"

using namespace rtfq;
using Catch::Matchers::Contains;
using test::contents;
using test::Outcome;
using test::Process;
using test::relative_l2;
using test::steps_to;
using test::succeed;
using test::Workplace;
namespace fs = std::filesystem;

namespace {

/// The ranks of a job that meet by TCP on this host.
struct Job {
  std::vector<Process> ranks;

  Job(const Workplace& place, int count, const std::vector<std::string>& arguments, int timeout = 60) {
    const int port = ranks::port_of(ranks::listen_on(0, 1));  // free a moment ago
    for (int rank = 0; rank < count; ++rank) {
      const fs::path folder = place.root / ("rank" + std::to_string(rank));
      fs::create_directories(folder);
      std::vector<std::string> words{"RANK=" + std::to_string(rank),
                                     "WORLD_SIZE=" + std::to_string(count),
                                     "MASTER_ADDR=127.0.0.1",
                                     "MASTER_PORT=" + std::to_string(port),
                                     "RTFQ_RANK_TIMEOUT=" + std::to_string(timeout),
                                     "RTFQ_SIMT_GUARD=1",
                                     RTFQ_BINARY};
      words.insert(words.end(), arguments.begin(), arguments.end());
      ranks.emplace_back(folder, words, -1, "/usr/bin/env");
    }
  }
  std::vector<Outcome> wait() const {
    std::vector<Outcome> all;
    for (const Process& process : ranks) all.push_back(process.wait());
    return all;
  }
};

void require_done(const std::vector<Outcome>& outcomes) {
  for (const Outcome& outcome : outcomes) {
    INFO(outcome.err);
    REQUIRE(outcome.status == 0);
  }
}

TensorFile trained(const Workplace& place, const std::string& run) {
  return load_tensors(place.at(run + "/checkpoint.safetensors"));
}

/// The relative difference of all tensors of a kind together.
double difference(const TensorFile& a, const TensorFile& b, const std::string& kind) {
  std::vector<float> left, right;
  for (const auto& [name, tensor] : a.tensors) {
    if (!name.starts_with(kind)) continue;
    const std::vector<float> x = tensor.to_vector(), y = b.at(name).to_vector();
    left.insert(left.end(), x.begin(), x.end());
    right.insert(right.end(), y.begin(), y.end());
  }
  REQUIRE_FALSE(left.empty());
  return relative_l2(left, right);
}

void wait_for_steps(const Workplace& place, const std::string& run, std::size_t count) {
  for (int i = 0; i < 60000; ++i) {
    const std::string log = contents(place.at(run + "/log.jsonl"));
    if (static_cast<std::size_t>(std::count(log.begin(), log.end(), '\n')) >= count) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

}  // namespace

TEST_CASE("ranks: one, two and four ranks train the same") {
  const Workplace place;
  // After one step momentum is the gradient, and weights differ by it. A teacher has no step sizes before the
  // student has, so the first quantized step is on the source.
  const std::vector<std::string> unquantized{"--set", "train.steps=1",        "--set", "train.float_steps=0",
                                             "--set", "train.source_steps=0", "--set", "bank.bits=[32]"};
  const std::vector<std::string> first{"--set", "train.steps=1",       "--set", "train.float_steps=0",
                                       "--set", "train.source_steps=1"};
  const auto train = [&](int ranks, const std::string& name, const std::vector<std::string>& settings) {
    const std::string run = name + std::to_string(ranks);
    if (ranks == 1)
      succeed(place, place.train(run, settings));
    else
      require_done(Job(place, ranks, place.train(run, settings)).wait());
    return trained(place, run);
  };
  const TensorFile one = train(1, "float", unquantized), quantized = train(1, "codes", first);
  for (const int ranks : {2, 4}) {
    INFO(ranks << " ranks");
    CHECK(difference(train(ranks, "float", unquantized), one, "momentum/") < 1e-5);
    // A sum in another order flips a code here and there.
    const TensorFile codes = train(ranks, "codes", first);
    CHECK(difference(codes, quantized, "momentum/") < 0.02);
    CHECK(difference(codes, quantized, "student/") < 1e-3);
  }

  // Nine steps, all phases, calibration: rank 0 writes, with what the steps cost.
  train(1, "all", {}), train(2, "all", {});
  CHECK(place.logged_steps("all2") == steps_to(9));
  std::ifstream log(place.at("all2/log.jsonl")), alone(place.at("all1/log.jsonl"));
  for (std::string line, other; std::getline(log, line) && std::getline(alone, other);) {
    const auto entry = nlohmann::json::parse(line), reference = nlohmann::json::parse(other);
    CHECK(entry["exchanged_bytes"].get<double>() > 1e5);
    CHECK(entry["images"] == reference["images"]);
    CHECK(entry["loss"].get<double>() == Approx(reference["loss"].get<double>()).epsilon(0.05));
    CHECK_FALSE(reference.contains("exchanged_bytes"));
  }
  succeed(place, {"eval", place.at("all2"), "--all"});

  // Norms over each rank's images alone: another training, which must run too.
  require_done(Job(place, 2, place.train("local", {"--set", "train.sync_norms=false"})).wait());
  CHECK(place.logged_steps("local") == steps_to(9));

  const std::vector<Outcome> uneven = Job(place, 3, place.train("uneven", {})).wait();
  for (const Outcome& outcome : uneven) CHECK(outcome.status != 0);
  CHECK_THAT(uneven[0].err, Contains("3 ranks cannot share evenly"));
}

TEST_CASE("ranks: gradients summed while passes compute give the bits of those summed after it") {
  const Workplace place;
  const auto seconds_of = [&](const std::string& run) {
    double seconds = 0;
    std::ifstream log(place.at(run + "/log.jsonl"));
    for (std::string line; std::getline(log, line);)
      seconds += nlohmann::json::parse(line)["overlapped_seconds"].get<double>();
    return seconds;
  };
  require_done(Job(place, 4, place.train("beside", {})).wait());
  require_done(Job(place, 4, place.train("after", {"--set", "train.overlap=false"})).wait());
  const TensorFile beside = trained(place, "beside"), after = trained(place, "after");
  REQUIRE(beside.tensors.size() == after.tensors.size());
  for (const auto& [name, tensor] : beside.tensors) {
    INFO(name);
    CHECK(tensor.to_vector() == after.at(name).to_vector());
  }
  CHECK(seconds_of("beside") > 0);
  CHECK(seconds_of("after") == 0);
}

TEST_CASE("ranks: on a device, sums are queued where it computes, and two ranks train as one does") {
  const Workplace place;
  // The executor is slow, and its memory out of the host's reach: whatever a rank sums goes through the seam
  // that NCCL stands behind on GPUs.
  const std::vector<std::string> settings{
      "--set", "device=simt",         "--set", "bank.bits=[32]",       "--set", "train.steps=2",
      "--set", "train.float_steps=0", "--set", "train.source_steps=1", "--set", "train.calibration_images=0"};
  succeed(place, place.train("one", settings));
  const std::vector<Outcome> outcomes = Job(place, 2, place.train("two", settings)).wait();
  require_done(outcomes);
  CHECK_THAT(outcomes[0].err, Contains("after the last pass, through the host"));
  CHECK(difference(trained(place, "two"), trained(place, "one"), "momentum/") < 1e-5);
  CHECK(difference(trained(place, "two"), trained(place, "one"), "student/") < 1e-5);
}

TEST_CASE("ranks: one that dies or hangs ends the job by its name, and fewer go on") {
  const Workplace place;
  const std::vector<std::string> settings{"--set", "train.steps=150", "--set", "train.checkpoint_every=5",
                                          "--resume"};
  {
    const Job job(place, 4, place.train("run", settings));
    wait_for_steps(place, "run", 8);
    job.ranks[2].signal(SIGKILL);
    const std::vector<Outcome> outcomes = job.wait();
    CHECK(outcomes[2].status == 128 + SIGKILL);
    for (const int rank : {0, 1, 3}) {
      INFO(outcomes[static_cast<std::size_t>(rank)].err);
      CHECK(outcomes[static_cast<std::size_t>(rank)].status == 1);
      CHECK_THAT(outcomes[static_cast<std::size_t>(rank)].err,
                 Contains("rank 2 (process ") && Contains("died"));
    }
    CHECK_THAT(outcomes[0].err, Contains("--resume"));
    CHECK_NOTHROW(load_tensors(place.at("run/checkpoint.safetensors")));
  }
  const std::size_t before = place.logged_steps("run").size();
  {
    const Job job(place, 2, place.train("run", settings), 8);
    wait_for_steps(place, "run", before + 10);
    job.ranks[1].signal(SIGSTOP);
    const Outcome first = job.ranks[0].wait();
    job.ranks[1].signal(SIGKILL);
    job.ranks[1].wait();
    INFO(first.err);
    CHECK(first.status == 1);
    CHECK_THAT(first.err, Contains("rank 1 (process ") && Contains("has not answered for"));
    CHECK_NOTHROW(load_tensors(place.at("run/checkpoint.safetensors")));
  }
  {  // all are told to stop, as a scheduler does
    const Job job(place, 2, place.train("run", settings));
    wait_for_steps(place, "run", before + 15);
    for (const Process& rank : job.ranks) rank.signal(SIGUSR1);
    for (const Outcome& outcome : job.wait()) {
      INFO(outcome.err);
      CHECK(outcome.status == 75);
    }
  }
  succeed(place, place.train("run", settings));
  CHECK(place.logged_steps("run") == steps_to(150));
}

TEST_CASE("ranks: a job that was stopped for longer than ranks wait for each other goes on") {
  const Workplace place;
  const Job job(place, 2, place.train("run", {"--set", "train.steps=40"}), 6);
  wait_for_steps(place, "run", 5);
  for (const Process& rank : job.ranks) rank.signal(SIGSTOP);
  std::this_thread::sleep_for(std::chrono::seconds(8));
  for (const Process& rank : job.ranks) rank.signal(SIGCONT);
  require_done(job.wait());
  CHECK(place.logged_steps("run") == steps_to(40));
}

namespace {

/// `rtfq arguments` as two ranks of mpirun, which is told not to wait for cores of their own. Open MPI's own plug-ins
/// leave memory behind, which a sanitizer is not to report.
Process mpirun(const Workplace& place, const std::vector<std::string>& arguments) {
  std::vector<std::string> words{"OMPI_ALLOW_RUN_AS_ROOT=1",
                                 "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
                                 "ASAN_OPTIONS=detect_leaks=0",
                                 "/usr/bin/mpirun",
                                 "--oversubscribe",
                                 "--mca",
                                 "btl",
                                 "self,vader,tcp",
                                 "-n",
                                 "2",
                                 RTFQ_BINARY};
  words.insert(words.end(), arguments.begin(), arguments.end());
  return Process(place.root, words, -1, "/usr/bin/env");
}

}  // namespace

TEST_CASE("ranks: mpirun gives the bits that TCP gives, and passes on that it is time to save") {
  if (!fs::exists("/usr/bin/mpirun")) return test::skip("there is no mpirun");
  const Workplace place;
  require_done(Job(place, 2, place.train("tcp", {})).wait());
  const Outcome outcome = mpirun(place, place.train("mpi", {})).wait();
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  // Without MPI in the build the ranks meet by TCP.
  CHECK_THAT(outcome.err, Contains(ranks::has_mpi() ? "2 ranks on 1 host, MPI" : "2 ranks on 1 host, TCP"));
  CHECK(contents(place.at("mpi/checkpoint.safetensors")) == contents(place.at("tcp/checkpoint.safetensors")));

  const Process job = mpirun(place, place.train("long", {"--set", "train.steps=150"}));
  wait_for_steps(place, "long", 2);
  job.signal(SIGUSR1);
  const Outcome stopped = job.wait();
  INFO(stopped.err);
  CHECK(stopped.status == 75);
  CHECK_THAT(stopped.err, Contains("saved. Go on with"));
  CHECK_NOTHROW(load_tensors(place.at("long/checkpoint.safetensors")));
}
