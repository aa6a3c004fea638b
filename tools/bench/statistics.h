#pragma once
// Medians and what can be said about them without assuming a distribution: timings on a busy machine have
// none that is known.

#include <cstddef>
#include <vector>

namespace rtfq::lab {

/// Linear between the ordered values; 0.5 is the median. NaN without values.
double quantile(std::vector<double> values, double q);

struct Interval {
  double low = 0, high = 0;
  bool contains(double x) const { return low <= x && x <= high; }
  bool overlaps(const Interval& o) const { return low <= o.high && o.low <= high; }
};

/// The order statistics between which the median of what the values were drawn from lies with at least
/// `confidence` (the sign test turned around: binomial with p = 1/2). With too few values the interval is
/// infinite.
Interval median_interval(std::vector<double> values, double confidence);

/// (third quartile - first quartile) / median.
double spread(const std::vector<double>& values);

}  // namespace rtfq::lab
