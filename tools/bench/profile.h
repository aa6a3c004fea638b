#pragma once
#include <string>
#include <vector>

#include "tools/bench/item.h"

namespace rtfq::lab {

/// One launch of the one item, in this process and without a warm-up: `rtfq_profile_start` and
/// `rtfq_profile_stop` are called around it, empty functions that a profiler or debugger can wait for; on
/// a GPU cudaProfilerStart and cudaProfilerStop too.
/// Answers the exit status; throws cli::UsageError when there is more than one item.
int profile(const std::vector<Item>& items, const std::vector<std::string>& plugins);

}  // namespace rtfq::lab
