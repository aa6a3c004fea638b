#pragma once
// A worker process from the lab's side: a request goes in, events come out, and what ended it is told.

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

namespace rtfq::lab {

using json = nlohmann::json;

struct WorkerEnd {
  enum class How { done, crashed, hung, failed } how = How::done;
  std::string
      message{};  ///< "ended by SIGSEGV, 4 bytes past ...", "no answer for 20 s", or the worker's own error
  std::string phase{};   ///< what it was doing
  std::string output{};  ///< the last of what it wrote to standard error
};

/// Runs this program as a worker with `request`; `event` gets every line but phases. Waits until it ends or a
/// phase takes longer than it may. Throws std::runtime_error when it cannot be started.
WorkerEnd run_worker(const json& request, const std::function<void(const json&)>& event);

}  // namespace rtfq::lab
