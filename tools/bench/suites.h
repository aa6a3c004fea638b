#pragma once
// Suites: what `rtfq-bench run --suite` measures.

#include <string>
#include <vector>

#include "tools/bench/item.h"

namespace rtfq::lab {

/// What a suite measures: rtfq, quick, memory, paper or gpu. Items without implementation.
std::vector<Item> suite_items(const std::string& name, const std::vector<std::string>& operators);
std::vector<std::string> suites();

}  // namespace rtfq::lab
