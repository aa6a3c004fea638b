#pragma once
// A worker process from the lab's side: a request goes in, events come out, and what ended it is told.

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace rtfq::lab {

using json = nlohmann::json;

struct WorkerEnd {
  enum class How { done, crashed, hung, failed } how = How::done;
  std::string message{};  ///< "ended by SIGSEGV, 4 bytes past ...", "no answer for 20 s ...", or the worker's
                          ///< own error
  std::string phase{};    ///< what it was doing
  std::string output{};   ///< the last of what it wrote to standard error
};

/// Told what the worker, that is, the plug-in in it, writes to its standard output and error, as it comes.
using Output = std::function<void(std::string_view)>;

/// Runs this program as a worker with `request`; `event` gets every line but phases. Waits until it ends or a
/// phase takes longer than it may: its limit, or up to three times that while it has had the processor for
/// less than half the limit. Throws std::runtime_error when it cannot be started.
WorkerEnd run_worker(const json& request, const std::function<void(const json&)>& event,
                     const Output& output = {});

}  // namespace rtfq::lab
