#include "tools/bench/verdict.h"

namespace rtfq::lab {

Verdict judge(const std::vector<Pair>& pairs, double confidence) {
  std::vector<double> ratios;
  for (const Pair& pair : pairs) ratios.push_back(pair.a / pair.b);
  return {quantile(ratios, 0.5), median_interval(ratios, confidence), pairs.size()};
}

}  // namespace rtfq::lab
