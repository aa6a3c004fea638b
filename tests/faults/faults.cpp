// What goes wrong around a run: disks, folders, data, memory. A clear error or a recovery, and nothing lost:
// once the cause is gone the run ends with the bits of one that nothing has happened to.
#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>
#include <thread>

#include "tests/support/skip.h"
#include "tests/tools/command.h"

using namespace rtfq;
using Catch::Matchers::Contains;
using test::contents;
using test::Outcome;
using test::Process;
using test::steps_to;
using test::succeed;
using test::Workplace;
namespace fs = std::filesystem;

namespace {

constexpr int64_t steps = 40;

/// Long enough to do something to it, and without images kept in memory.
const std::vector<std::string>& settings() {
  static const std::vector<std::string> all{"--set",   "train.steps=" + std::to_string(steps),
                                            "--set",   "train.checkpoint_every=3",
                                            "--set",   "data.cache_mib=0",
                                            "--set",   "train.report_every=0",
                                            "--resume"};
  return all;
}

std::vector<std::string> train(const Workplace& place, const std::string& run) {
  return place.train(run, settings());
}

/// Until the log of a run has so many entries.
void wait_for_steps(const Workplace& place, const std::string& run, std::size_t count) {
  for (int i = 0; i < 60000; ++i) {
    const std::string log = contents(place.at(run + "/log.jsonl"));
    if (static_cast<std::size_t>(std::count(log.begin(), log.end(), '\n')) >= count) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

/// A shell command with the words of `arguments` as $0, $1 ...
Outcome shell(const Workplace& place, const std::string& command, const std::vector<std::string>& arguments) {
  std::vector<std::string> words{"-c", command, RTFQ_BINARY};
  words.insert(words.end(), arguments.begin(), arguments.end());
  return Process(place.root, words, -1, "/bin/sh").wait();
}

/// What a run ends with that nothing happens to.
struct Undisturbed {
  std::string checkpoint;
  explicit Undisturbed(const Workplace& place) {
    succeed(place, train(place, "whole"));
    checkpoint = contents(place.at("whole/checkpoint.safetensors"));
  }
};

/// The run goes on where it was and ends as if nothing had been.
void recovers(const Workplace& place, const std::string& run, const Undisturbed& whole) {
  const Outcome outcome = succeed(place, train(place, run));
  CHECK(contents(place.at(run + "/checkpoint.safetensors")) == whole.checkpoint);
  CHECK(place.logged_steps(run) == steps_to(steps));
}

}  // namespace

TEST_CASE("faults: a file that may not grow, a disk that is full") {
  const Workplace place;
  const Undisturbed whole(place);
  // Half of a checkpoint fits. Blocks of 512 bytes.
  const std::string blocks = std::to_string(whole.checkpoint.size() / 1024);
  const Outcome limited =
      shell(place, "ulimit -f " + blocks + "; exec \"$0\" \"$@\"", train(place, "limited"));
  INFO(limited.err);
  CHECK(limited.status == 1);
  CHECK_THAT(limited.err,
             Contains("cannot write") && Contains("checkpoint.safetensors") && Contains("too large"));
  CHECK_FALSE(fs::exists(place.at("limited/checkpoint.safetensors")));
  recovers(place, "limited", whole);

  // A tmpfs that holds two and a half checkpoints: two are kept, the third that is being written does not
  // fit.
  const std::string kib = std::to_string(whole.checkpoint.size() * 5 / 2 / 1024);
  const std::string mount = "mkdir -p \"$MOUNT\" && mount -t tmpfs -o size=" + kib + "k tmpfs \"$MOUNT\"";
  ::setenv("MOUNT", place.at("small").c_str(), 1);
  if (shell(place, mount, {}).status != 0) {
    WARN("no tmpfs can be mounted here: the full disk is not tested, a file's limit was");
    return;
  }
  const Outcome full = place.rtfq(train(place, "small/run"));
  const std::string left = contents(place.at("small/run/checkpoint.safetensors"));
  const bool remounted = shell(place, "mount -o remount,size=64m \"$MOUNT\"", {}).status == 0;
  if (remounted) recovers(place, "small/run", whole);
  shell(place, "umount \"$MOUNT\"", {});
  INFO(full.err);
  CHECK(full.status == 1);
  CHECK_THAT(full.err,
             Contains("No space left") && Contains("the last checkpoint, of step ") && Contains("--resume"));
  CHECK(left.size() > whole.checkpoint.size() / 2);
  CHECK(remounted);
}

TEST_CASE("faults: a folder that cannot be written") {
  const Workplace place;
  std::vector<std::string> arguments = train(place, "run");
  *(std::find(arguments.begin(), arguments.end(), "--out") + 1) = "/proc/rtfq-run";  // even for root
  const Outcome outcome = place.rtfq(arguments);
  CHECK(outcome.status == 1);
  CHECK_THAT(outcome.err, Contains("/proc/rtfq-run"));
  if (::geteuid() == 0) return;  // permissions stop everybody else
  fs::create_directories(place.at("shut"));
  fs::permissions(place.at("shut"), fs::perms::owner_read | fs::perms::owner_exec);
  const Outcome shut = place.rtfq(train(place, "shut"));
  CHECK(shut.status == 1);
  CHECK_THAT(shut.err, Contains("cannot write to"));
  fs::permissions(place.at("shut"), fs::perms::owner_all);
}

TEST_CASE("faults: a data set vanishes, an image turns to garbage in mid-run") {
  const Workplace place;
  const Undisturbed whole(place);
  {
    const Process process(place.root, train(place, "vanished"));
    wait_for_steps(place, "vanished", 5);
    fs::rename(place.at("source"), place.at("elsewhere"));
    const Outcome outcome = process.wait();
    fs::rename(place.at("elsewhere"), place.at("source"));
    INFO(outcome.err);
    CHECK(outcome.status == 1);
    CHECK_THAT(outcome.err, Contains(place.at("source")) && Contains("the last checkpoint, of step ") &&
                                Contains("--resume"));
    recovers(place, "vanished", whole);
  }
  const std::string image = place.at("source/0/3.png"), before = contents(image);
  for (const bool skip : {false, true}) {
    const std::string run = skip ? "skips" : "stops";
    std::vector<std::string> arguments = train(place, run);
    if (skip) arguments.insert(arguments.end(), {"--set", "data.bad_images=skip"});
    const Process process(place.root, arguments);
    wait_for_steps(place, run, 5);
    place.write("source/0/3.png", "this is not an image any more");
    const Outcome outcome = process.wait();
    place.write("source/0/3.png", before);
    INFO(outcome.err);
    CHECK(outcome.status == (skip ? 0 : 1));
    if (skip) {
      CHECK(place.logged_steps(run) == steps_to(steps));
    } else {
      CHECK_THAT(outcome.err, Contains("3.png") && Contains("--resume"));
      recovers(place, run, whole);
    }
  }
}

TEST_CASE("faults: more memory than there is") {
#ifdef __SANITIZE_ADDRESS__
  return test::skip("the address sanitizer needs the addresses that the limit takes away");
#endif
  const Workplace place;
  // 1.5 GiB of addresses: the program starts, a step with such a batch does not.
  const Outcome outcome =
      shell(place, "ulimit -v 1500000; exec \"$0\" \"$@\"",
            place.train("run", {"--set", "train.batch=65536", "--set", "data.threads=1"}));
  INFO(outcome.err);
  CHECK(outcome.status == 1);
  CHECK_THAT(outcome.err, Contains("out of memory"));
}

TEST_CASE("faults: two processes on one folder, and a lock whose holder died") {
  const Workplace place;
  const Process first(place.root, train(place, "run"));
  wait_for_steps(place, "run", 1);
  fs::create_directory(place.at("second"));
  const Outcome second = Process(place.at("second"), train(place, "run")).wait();
  first.signal(SIGKILL);
  CHECK(first.wait().status == 128 + SIGKILL);
  CHECK(second.status == 2);
  CHECK_THAT(second.err, Contains("another process is training in") && Contains("(process "));
  const Outcome third = succeed(place, train(place, "run"));
  CHECK_THAT(third.err, Contains("before died (process "));
  CHECK_THAT(succeed(place, train(place, "run")).err, !Contains("died"));
}

TEST_CASE("faults: a damaged checkpoint makes way for the one before") {
  const Workplace place;
  const Undisturbed whole(place);
  const std::string checkpoint = place.at("run/checkpoint.safetensors");
  const auto stopped = [&] {
    const Process process(place.root, train(place, "run"));
    wait_for_steps(place, "run", 10);
    process.signal(SIGUSR1);
    const Outcome outcome = process.wait();
    REQUIRE(outcome.status == 75);
    CHECK_THAT(outcome.err, Contains("saved") && Contains("--resume"));
  };
  using Damage = std::function<void(std::string&)>;
  for (const Damage& damage :
       {Damage([](std::string& bytes) { bytes.resize(bytes.size() / 2); }),
        Damage([](std::string& bytes) { bytes[bytes.size() - 100] ^= 1; }),
        Damage([](std::string& bytes) {  // the step: the header is under a checksum too
          const std::size_t at = bytes.find("\"step\":\"") + 8;
          bytes[at] = bytes[at] == '9' ? '8' : static_cast<char>(bytes[at] + 1);
        }),
        Damage([](std::string& bytes) { bytes.clear(); })}) {
    fs::remove_all(place.at("run"));
    stopped();
    REQUIRE(fs::exists(place.at("run/checkpoint.previous.safetensors")));
    std::string bytes = contents(checkpoint);
    damage(bytes);
    place.write("run/checkpoint.safetensors", bytes);
    const Outcome eval = place.rtfq({"eval", place.at("run")});
    CHECK(eval.status == 1);
    CHECK_THAT(eval.err, Contains("checkpoint.safetensors"));
    const Outcome resumed = succeed(place, train(place, "run"));
    CHECK_THAT(resumed.err, Contains("falling back to the checkpoint before"));
    CHECK(contents(checkpoint) == whole.checkpoint);
    CHECK(place.logged_steps("run") == steps_to(steps));
    CHECK(fs::exists(place.at("run/checkpoint.damaged.safetensors")));
  }
}

TEST_CASE("faults: training that diverges stops at the layer, or retreats") {
  const Workplace place;
  const std::vector<std::string> hot{
      "--set", "optimizer.learning_rate=1e30", "--set", "optimizer.clip_norm=0",
      "--set", "train.checkpoint_every=1",     "--set", "optimizer.schedule=constant"};
  const Outcome stopped = place.rtfq(place.train("stops", hot));
  INFO(stopped.err);
  CHECK(stopped.status == 1);
  CHECK_THAT(stopped.err,
             Contains("first layer whose output is not finite is ") || Contains("train.max_loss"));

  // A rate that is too high by a thousand: some halvings, and it learns.
  std::vector<std::string> retreats = hot;
  retreats[1] = "optimizer.learning_rate=40";
  retreats.insert(retreats.end(), {"--set", "train.on_divergence=retreat", "--set", "train.max_loss=60"});
  const Outcome retreated = place.rtfq(place.train("retreats", retreats));
  INFO(retreated.err);
  CHECK(retreated.status == 0);
  CHECK_THAT(retreated.err, Contains("retreating to step "));
  CHECK(place.logged_steps("retreats") == steps_to(9));
  std::vector<std::string> again = retreats;
  again.push_back("--resume");
  CHECK_THAT(succeed(place, place.train("retreats", again)).err, Contains("of the schedule's"));
}
