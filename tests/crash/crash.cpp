// A run that is killed again and again, at any instant and in the middle of writing, and resumed each time,
// ends with the bits of a run that nobody disturbed.
#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <thread>

#include "engine/atomic_file.h"
#include "engine/random.h"
#include "tests/tools/command.h"

using namespace rtfq;
using test::contents;
using test::Outcome;
using test::Process;
using test::steps_to;
using test::succeed;
using test::Workplace;
namespace fs = std::filesystem;

namespace {

constexpr int64_t steps = 60;

/// RTFQ_KILLS of the environment: 200 by hand, a dozen otherwise.
int wanted_kills() {
  const char* text = std::getenv("RTFQ_KILLS");
  return text ? std::stoi(text) : 12;
}

bool writes_now(const fs::path& run) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run, error))
    if (is_temporary_name(entry.path().filename())) return true;
  return false;
}

/// Waits for a file that is being written, some seconds at most.
void wait_for_write(const fs::path& run) {
  for (int i = 0; i < 20000 && !writes_now(run); ++i)
    std::this_thread::sleep_for(std::chrono::microseconds(200));
}

}  // namespace

TEST_CASE("crash: killed at random instants and resumed, a run has the bits of an undisturbed one") {
  const Workplace place;
  const std::vector<std::string> settings{"--set",   "train.steps=" + std::to_string(steps),
                                          "--set",   "train.float_steps=10",
                                          "--set",   "train.source_steps=10",
                                          "--set",   "train.checkpoint_every=2",
                                          "--set",   "train.tensorboard=true",
                                          "--resume"};
  const auto start = std::chrono::steady_clock::now();
  succeed(place, place.train("whole", settings));
  const double alone = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const std::string expected = contents(place.at("whole/checkpoint.safetensors"));

  const int kills = wanted_kills();
  int killed = 0, in_write = 0, runs = 0;
  for (uint64_t attempt = 0; killed < kills; ++attempt) {
    const std::string run = "run" + std::to_string(runs);
    Random random(5, Purpose::test, attempt);
    const Process process(place.root, place.train(run, settings));
    if (attempt % 3 == 0)
      wait_for_write(place.at(run));
    else  // somewhere between its start and its end; the first quarter is where it opens everything
      std::this_thread::sleep_for(
          std::chrono::duration<double>(alone * random.uniform() * (attempt % 3 == 1 ? 1 : 0.25)));
    process.signal(SIGKILL);
    const Outcome outcome = process.wait();
    if (outcome.status == 128 + SIGKILL) {
      ++killed;
      in_write += writes_now(place.at(run));
      continue;
    }
    INFO(outcome.err);
    REQUIRE(outcome.status == 0);  // it had come to its end
    CHECK(contents(place.at(run + "/checkpoint.safetensors")) == expected);
    CHECK(place.logged_steps(run) == steps_to(steps));
    ++runs;
  }
  const std::string last = "run" + std::to_string(runs);
  succeed(place, place.train(last, settings));
  CHECK(contents(place.at(last + "/checkpoint.safetensors")) == expected);
  CHECK(place.logged_steps(last) == steps_to(steps));
  CHECK_FALSE(writes_now(place.at(last)));  // nothing that was cut off stays
  CHECK(in_write > 0);
  std::cout << "crash: " << killed << " kills, " << in_write << " of them while a file was written, in "
            << runs + 1 << " runs\n";
}
