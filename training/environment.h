#pragma once
#include <map>
#include <string>

namespace rtfq {

/// What numbers depend on besides their configuration: "version", "commit", "cpu", "threads", "jpeg" and
/// "date" (UTC). `threads` as in the configuration; 0: what the machine has.
std::map<std::string, std::string> environment(int threads);

/// "2026-11-23T14:05:09Z".
std::string utc_now();

}  // namespace rtfq
