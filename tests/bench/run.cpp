#include "tests/bench/run.h"

#include "tools/bench/machine.h"

namespace rtfq::test {

namespace fs = std::filesystem;

Lab::Lab() : root_(fs::temp_directory_path() / ("rtfq-lab-" + std::to_string(::getpid()))) {
  fs::remove_all(root_);
  fs::create_directories(root_);
  ::setenv("XDG_CACHE_HOME", at("cache").c_str(), 1);
  lab::Machine made_up{"made up", "2026-01-01T00:00:00Z", 1, {{10e9, 10e9, 10e9, 10e9}}, 100e9, 0, 0};
  lab::keep_machine(made_up, lab::machine_file(1));
}

Lab::~Lab() {
  fs::remove_all(root_);
}

Outcome Lab::run(std::vector<std::string> arguments) const {
  return Process(root_, std::move(arguments), -1, RTFQ_BENCH).wait();
}

Outcome Lab::verify(const std::string& fault, std::vector<std::string> more) const {
  std::vector<std::string> arguments{
      "run",     "--op",       "fakequant.forward", "--impl", "plugin:" + plugin(fault),
      "--shape", "count=1003", "--verify-only"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run(arguments);
}

}  // namespace rtfq::test
