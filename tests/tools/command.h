#pragma once
// Runs build/bin/rtfq as people do and looks at what comes back.

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/stripes.h"

namespace rtfq::test {

inline std::string contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

struct Outcome {
  int status = -1;  ///< exit status; 128 + signal when one ended it
  std::string out, err;
};

/// A started rtfq (or another program); its output goes to files in `folder`, its stderr to `terminal` where that is a descriptor.
class Process {
 public:
  Process(const std::filesystem::path& folder, std::vector<std::string> arguments, int terminal = -1,
          const char* program = RTFQ_BINARY)
      : out_(folder / "stdout"), err_(folder / "stderr") {
    arguments.insert(arguments.begin(), program);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("fork failed");
    if (pid_ > 0) return;
    const auto redirect = [](const std::filesystem::path& path, int to) {
      ::dup2(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644), to);
    };
    redirect(out_, STDOUT_FILENO);
    redirect(err_, STDERR_FILENO);
    if (terminal >= 0) ::dup2(terminal, STDERR_FILENO);
    ::setenv("OMP_NUM_THREADS", "1", 1);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  void signal(int number) const { ::kill(pid_, number); }
  Outcome wait() const {
    int state = 0;
    if (::waitpid(pid_, &state, 0) != pid_) throw std::runtime_error("waitpid failed");
    return {WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state), contents(out_), contents(err_)};
  }

 private:
  std::filesystem::path out_, err_;
  pid_t pid_ = -1;
};

/// The stripes, and a configuration of a network that learns them; everything is in one temporary folder.
class Workplace : public Stripes {
 public:
  Workplace() : Stripes(12) {
    write("small.jsonc", R"({
      "data": {"source": ")" +
                             at("source") + R"(", "target": ")" + at("target") + R"(",
               "channels": 1, "mean": [0.5], "deviation": [0.5], "threads": 1},
      "model": {"arch": "resnet14_small"},
      "bank": {"widths": [1, 0.5], "resolutions": [12], "bits": [8, 4], "multiple": 8},
      "loss": {"teacher_temperature": 0.4, "student_temperature": 1},
      "optimizer": {"learning_rate": 0.02, "classifier_rate": 1, "clip_norm": 5},
      "train": {"steps": 9, "float_steps": 3, "source_steps": 2, "batch": 4, "checkpoint_every": 4,
                "calibration_images": 16},  // a comment, and a comma too many:
      "threads": 1, })");
  }
  void write(const std::string& name, const std::string& text) const { std::ofstream(root / name) << text; }
  Outcome rtfq(const std::vector<std::string>& arguments) const { return Process(root, arguments).wait(); }
  /// `rtfq train small.jsonc --out RUN` and `more`.
  std::vector<std::string> train(const std::string& run, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments{"train", at("small.jsonc"), "--out", at(run)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  /// The "step" of every entry of a run's log.
  std::vector<int64_t> logged_steps(const std::string& run) const {
    std::ifstream in(root / run / "log.jsonl");
    std::vector<int64_t> steps;
    for (std::string line; std::getline(in, line);)
      steps.push_back(nlohmann::json::parse(line).at("step").get<int64_t>());
    return steps;
  }
};

/// What `rtfq arguments` prints, its status being 0.
inline Outcome succeed(const Workplace& place, const std::vector<std::string>& arguments) {
  const Outcome outcome = place.rtfq(arguments);
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  return outcome;
}

/// 1 ... last.
inline std::vector<int64_t> steps_to(int64_t last) {
  std::vector<int64_t> steps;
  for (int64_t step = 1; step <= last; ++step) steps.push_back(step);
  return steps;
}

}  // namespace rtfq::test
