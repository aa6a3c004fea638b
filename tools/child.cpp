#include "tools/child.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <stdexcept>

#include "tools/interrupt.h"

namespace rtfq::cli {
namespace {

constexpr std::size_t tail_lines = 8;

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error("[experiment] " + what + ": " + std::strerror(errno));
}

/// A descriptor that closes itself.
struct Descriptor {
  explicit Descriptor(int value_) : value(value_) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  void close() {
    if (value >= 0) ::close(value);
    value = -1;
  }
  int value;
};

/// In the new process: never returns.
[[noreturn]] void become(char* const* arguments, int output, pid_t parent) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(127);  // it died before the line above
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  ::execv("/proc/self/exe", arguments);
  ::_exit(127);
}

/// Splits what comes into lines; a carriage return ends one too, as progress bars have it.
class Lines {
 public:
  Lines(ChildOutcome& outcome, const std::function<void(const std::string&)>& line)
      : outcome_(outcome), line_(line) {}
  void add(const char* data, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i) {
      if (data[i] == '\n' || data[i] == '\r')
        end();
      else
        pending_ += data[i];
    }
  }
  void end() {
    if (pending_.empty()) return;
    outcome_.tail.push_back(pending_);
    if (outcome_.tail.size() > tail_lines) outcome_.tail.erase(outcome_.tail.begin());
    if (line_) line_(pending_);
    pending_.clear();
  }

 private:
  ChildOutcome& outcome_;
  const std::function<void(const std::string&)>& line_;
  std::string pending_;
};

void append(int file, const char* data, std::size_t bytes) {
  while (bytes > 0) {
    const ssize_t wrote = ::write(file, data, bytes);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return;  // a log that cannot be written must not end a run
    data += wrote;
    bytes -= static_cast<std::size_t>(wrote);
  }
}

}  // namespace

ChildOutcome run_child(const std::vector<std::string>& arguments, const std::string& output,
                       const std::function<void(const std::string&)>& line) {
  std::vector<std::string> words{"rtfq"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  Descriptor file(::open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (file.value < 0) fail("cannot write " + output);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) fail("cannot make a pipe");
  Descriptor in(ends[0]), out(ends[1]);
  const pid_t parent = ::getpid(), child = ::fork();
  if (child < 0) fail("cannot start " + arguments.front());
  if (child == 0) become(argv.data(), out.value, parent);
  out.close();

  ChildOutcome outcome;
  Lines lines(outcome, line);
  bool told = false;
  for (char buffer[4096];;) {
    if (interrupted() && !told) {
      ::kill(child, SIGTERM);
      told = true;
    }
    pollfd waiting{in.value, POLLIN, 0};
    if (::poll(&waiting, 1, 200) <= 0) continue;  // time is up, or a signal came
    const ssize_t got = ::read(in.value, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    append(file.value, buffer, static_cast<std::size_t>(got));
    lines.add(buffer, static_cast<std::size_t>(got));
  }
  lines.end();
  int state = 0;
  while (::waitpid(child, &state, 0) < 0 && errno == EINTR) {
  }
  outcome.status = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
  return outcome;
}

}  // namespace rtfq::cli
