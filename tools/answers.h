#pragma once
// Class and probability of images as CSV, what `rtfq predict` and `rtfq infer` print.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "models/bank.h"

namespace rtfq::cli {

/// Lines "path,class,probability[,class2,probability2...]" under such a header.
class Answers {
 public:
  /// So many classes a line, best first, but no more than there are.
  Answers(std::vector<std::string> classes, int top);
  /// `probabilities`: of each class. Of equal ones the first class comes first.
  void add(const std::string& path, std::span<const float> probabilities);
  /// To the file `out`, whole or not at all, or to stdout where it is empty; says how many there are.
  void write(const std::string& out, const Subnet&) const;

 private:
  std::vector<std::string> classes_;
  std::size_t top_;
  std::string lines_;
  int64_t images_ = 0;
};

}  // namespace rtfq::cli
