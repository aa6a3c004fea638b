#pragma once
// A chart's axis: from values to pixels, with ticks at round numbers.

#include <string>
#include <vector>

namespace rtfq::report {

enum class Scale { linear, log };

struct Tick {
  double value;
  std::string label;
};

/// At most about `count` round numbers in [low, high], with labels of one common precision and prefix
/// ("0.95", "20K", "5×10⁻⁵"). `whole`: integers only. On a log scale powers of ten, and where these are few 2
/// and 5 times them.
std::vector<Tick> round_ticks(double low, double high, Scale scale, int count, bool whole = false);

class Axis {
 public:
  /// Values [low, high] over pixels [from, to]. A range without extent gets some; on a log scale both must be
  /// above zero.
  Axis(double low, double high, Scale scale, double from, double to);
  double at(double value) const;
  double low() const { return low_; }
  double high() const { return high_; }
  Scale scale() const { return scale_; }

 private:
  double low_, high_, from_, to_;
  Scale scale_;
};

}  // namespace rtfq::report
