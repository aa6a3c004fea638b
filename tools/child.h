#pragma once
// Another rtfq command as a process of its own.

#include <functional>
#include <string>
#include <vector>

namespace rtfq::cli {

struct ChildOutcome {
  int status = 0;                 ///< exit status; 128 + signal when one ended it
  std::vector<std::string> tail;  ///< the last lines of its output
};

/// Runs this executable with `arguments` and waits. Its output is appended to the file `output`, and each
/// line given to `line`. It is in a process group of its own and gets one SIGTERM when this process is
/// interrupted (interrupt.h) or dies, upon which training saves. Throws std::runtime_error when it cannot be
/// started.
ChildOutcome run_child(const std::vector<std::string>& arguments, const std::string& output,
                       const std::function<void(const std::string&)>& line);

}  // namespace rtfq::cli
