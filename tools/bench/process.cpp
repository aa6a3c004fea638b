#include "tools/bench/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>

namespace rtfq::lab {
namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error("[lab] " + what + ": " + std::strerror(errno));
}

struct Descriptor {
  int value = -1;
  Descriptor() = default;
  explicit Descriptor(int v) : value(v) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { close(); }
  void close() {
    if (value >= 0) ::close(value);
    value = -1;
  }
};

/// The name that people know a signal by.
std::string signal_name(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name ? "SIG" + std::string(name) : "signal " + std::to_string(signal);
}

/// Seconds of processor time that a process and its children (a plug-in's interpreter) have used, all
/// threads.
double processor_seconds(pid_t pid) {
  const std::string folder = "/proc/" + std::to_string(pid);
  std::ifstream in(folder + "/stat");
  std::string text((std::istreambuf_iterator<char>(in)), {});
  const std::size_t name_end = text.rfind(')');  // the name may hold anything
  if (name_end == text.npos) return 0;
  std::istringstream fields(text.substr(name_end + 1));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  double seconds = (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  std::ifstream children(folder + "/task/" + std::to_string(pid) + "/children");
  for (pid_t child; children >> child;) seconds += processor_seconds(child);
  return seconds;
}

/// Lines out of what a pipe gives.
class Lines {
 public:
  void add(const char* data, std::size_t bytes, const std::function<void(const std::string&)>& line) {
    for (std::size_t i = 0; i < bytes; ++i) {
      if (data[i] != '\n') {
        pending_ += data[i];
        continue;
      }
      line(pending_);
      pending_.clear();
    }
  }

 private:
  std::string pending_;
};

class Worker {
 public:
  Worker(const std::function<void(const json&)>& event, const Output& output)
      : event_(event), output_(output) {}

  void start(const json& request) {
    int in[2], out[2], err[2];
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0)
      fail("cannot make a pipe");
    Descriptor child_in(in[0]), child_out(out[1]), child_err(err[1]), request_to(in[1]);
    out_.value = out[0];
    err_.value = err[0];
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ < 0) fail("cannot start a worker");
    if (pid_ == 0) {
      ::setpgid(0, 0);
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(127);
      ::dup2(child_in.value, STDIN_FILENO);
      ::dup2(child_out.value, STDOUT_FILENO);
      ::dup2(child_err.value, STDERR_FILENO);
      ::execl("/proc/self/exe", "rtfq-bench", "worker", nullptr);
      ::_exit(127);
    }
    child_in.close();
    const std::string line = request.dump() + "\n";
    for (std::size_t at = 0; at < line.size();) {
      const ssize_t wrote = ::write(request_to.value, line.data() + at, line.size() - at);
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote <= 0) break;  // it died: its end says why
      at += static_cast<std::size_t>(wrote);
    }
  }

  WorkerEnd wait() {
    renew(20);
    while (out_.value >= 0) {
      pollfd waiting[] = {{out_.value, POLLIN, 0}, {err_.value, POLLIN, 0}};
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - Clock::now()).count();
      if (left <= 0) {
        if (give_more()) continue;
        end_.how = WorkerEnd::How::hung;
        end_.message = hung_text();
        break;
      }
      if (::poll(waiting, 2, static_cast<int>(std::min<long long>(left, 1000))) <= 0) continue;
      if (waiting[1].revents)
        read(err_, [&](const char* data, std::size_t n) {
          end_.output.append(data, n);
          if (output_) output_({data, n});
        });
      if (end_.output.size() > 4000) end_.output.erase(0, end_.output.size() - 4000);
      if (waiting[0].revents)
        read(out_, [&](const char* data, std::size_t n) {
          lines_.add(data, n, [&](const std::string& line) { take(line); });
        });
    }
    // What it wrote last; one that writes without end is not waited for.
    int reads = 0;
    for (pollfd last{err_.value, POLLIN, 0}; err_.value >= 0 && reads < 64 && ::poll(&last, 1, 0) > 0;
         ++reads)
      read(err_, [&](const char* data, std::size_t n) {
        end_.output.append(data, n);
        if (output_) output_({data, n});
      });
    // Its group holds what it started, a plug-in's interpreter for one.
    ::kill(-pid_, SIGKILL);
    int state = 0;
    while (::waitpid(pid_, &state, 0) < 0 && errno == EINTR) {
    }
    if (end_.how != WorkerEnd::How::hung && !done_ && end_.how != WorkerEnd::How::failed) {
      end_.how = WorkerEnd::How::crashed;
      end_.message = WIFSIGNALED(state) ? "ended by " + signal_name(WTERMSIG(state))
                                        : "ended itself with status " + std::to_string(WEXITSTATUS(state));
      if (!fault_.empty()) end_.message += " at an access " + fault_;
    }
    return end_;
  }

 private:
  template <class Use>
  void read(Descriptor& from, const Use& use) {
    char buffer[4096];
    const ssize_t got = ::read(from.value, buffer, sizeof buffer);
    if (got > 0)
      use(buffer, static_cast<std::size_t>(got));
    else if (got == 0 || errno != EINTR)
      from.close();
  }
  void renew(double seconds) {
    limit_ = seconds;
    begin_ = Clock::now();
    deadline_ = begin_ + std::chrono::milliseconds(static_cast<int64_t>(1000 * seconds));
    used_ = processor_seconds(pid_);
  }
  /// A machine that stood still, or had others to serve, is no fault of the kernel: a worker that has not had
  /// the processor for half of its limit gets more, up to three times the limit.
  bool give_more() {
    const double waited = std::chrono::duration<double>(Clock::now() - begin_).count();
    if (waited >= 3 * limit_ || processor_seconds(pid_) - used_ >= limit_ / 2) return false;
    deadline_ = Clock::now() + std::chrono::milliseconds(static_cast<int64_t>(100 * limit_) + 1);
    return true;
  }
  std::string hung_text() const {
    const double waited = std::chrono::duration<double>(Clock::now() - begin_).count();
    char text[160];
    std::snprintf(text, sizeof text,
                  "no answer for %.3g s (the limit is %g s); it used %.2g s of processor time", waited,
                  limit_, processor_seconds(pid_) - used_);
    return text;
  }
  void take(const std::string& line) {
    const json event = json::parse(line, nullptr, false);
    if (event.is_discarded() || !event.is_object()) return;  // cut off by its end
    if (event.contains("phase")) {
      end_.phase = event["phase"];
      renew(event["limit"]);
    } else if (event.contains("fault")) {
      fault_ = event["fault"];
    } else if (event.contains("error")) {
      end_.how = WorkerEnd::How::failed;
      end_.message = event["error"];
    } else if (event.contains("done")) {
      done_ = true;
    } else {
      event_(event);
    }
  }

  const std::function<void(const json&)>& event_;
  const Output& output_;
  pid_t pid_ = -1;
  Descriptor out_, err_;
  Lines lines_;
  WorkerEnd end_;
  std::string fault_;
  bool done_ = false;
  double limit_ = 0, used_ = 0;  ///< of the phase; processor seconds when it began
  Clock::time_point begin_, deadline_;
};

}  // namespace

WorkerEnd run_worker(const json& request, const std::function<void(const json&)>& event,
                     const Output& output) {
  std::signal(SIGPIPE, SIG_IGN);
  Worker worker(event, output);
  worker.start(request);
  return worker.wait();
}

}  // namespace rtfq::lab
