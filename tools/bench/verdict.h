#pragma once
// What pairs of timings say.

#include <string>
#include <vector>

#include "tools/bench/pairs.h"
#include "tools/bench/statistics.h"

namespace rtfq::lab {

struct Verdict {
  double ratio = 1;   ///< median of a/b: above 1, b is faster
  Interval interval;  ///< that the median of a/b lies in, with the confidence asked for
  std::size_t pairs = 0;

  /// Neither is faster as far as these pairs can tell.
  bool no_difference() const { return interval.contains(1); }
};

/// The median of the pairs' ratios with the interval of the sign test: it assumes no distribution and no
/// steady machine, only that who goes first is drawn.
Verdict judge(const std::vector<Pair>&, double confidence);

}  // namespace rtfq::lab
