#include "kernels/optimizer.h"

namespace rtfq::kernels {

// SGD reads and writes value, momentum and gradient (zeroed): scale, four multiply-adds.
Cost cost(const Sgd&, const OptimizerShape& s) {
  return {24.0 * static_cast<double>(s.total), 9.0 * static_cast<double>(s.total)};
}
Cost cost(const MovingAverage&, const OptimizerShape& s) {
  return {12.0 * static_cast<double>(s.total), 3.0 * static_cast<double>(s.total)};
}
Cost cost(const SquaredNorm&, const OptimizerShape& s) {
  return {4.0 * static_cast<double>(s.total), 2.0 * static_cast<double>(s.total)};
}
Cost cost(const ClipScale&, const OptimizerShape&) {
  return {12, 4};
}

}  // namespace rtfq::kernels
