#pragma once
// Two implementations beside each other, on the same operands, alternately.

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tools/bench/item.h"

namespace rtfq::lab {

/// Seconds a launch of both, measured within a fraction of a second of each other; which came first is drawn.
struct Pair {
  double a = 0, b = 0;
};

/// In a worker: verifies both and measures the pairs of a request {a, b, settings, pairs, sample_seconds,
/// seed}. Answers {a: row, b: row, pairs: [[a, b], ...]}; a row that is wrong has a message, and then there
/// are no pairs.
json measure_pairs(const json& request, const std::function<void(const std::string&, double)>& phase);

}  // namespace rtfq::lab
