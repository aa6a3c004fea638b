#pragma once
// The lab's side of measuring: items go to worker processes, one after the other; a worker that dies or hangs
// is replaced, and the implementation that ended it is measured no further.

#include <functional>
#include <string>
#include <vector>

#include "tools/bench/item.h"
#include "tools/bench/offers.h"
#include "tools/bench/process.h"

namespace rtfq::lab {

/// Implementations of this build and of `plugins`. A plug-in that cannot be loaded throws
/// std::invalid_argument with the reason, also when it crashes the worker.
std::vector<Offered> offers(const std::vector<std::string>& plugins);

/// One row an item, in their order. `done` is called after each; `output` gets what plug-ins print.
std::vector<Row> measure(const std::vector<Item>& items, const std::vector<Offered>& known, const Settings&,
                         const std::function<void(const Row&)>& done, const Output& output = {});

/// Rows of both sides and the pairs of seconds; the request as pairs.h has it.
json compare(const json& request);

/// What names an implementation on the command line: its name, or "plugin:FILE" for one out of a file,
/// "plugin:FILE:NAME" where the file has several for the operator.
std::string spoken_name(const Offered&);
/// The files that plug-ins among `known` come from.
std::vector<std::string> files_of(const std::vector<Offered>& known);

/// How this program was called.
inline std::string program = "rtfq-bench";

}  // namespace rtfq::lab
