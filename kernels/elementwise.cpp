#include "kernels/elementwise.h"

#include <stdexcept>
#include <string>

namespace rtfq::kernels {

ElementwiseShape make_elementwise_shape(int64_t count) {
  if (count < 0)
    throw std::invalid_argument("[elementwise] expected a number of elements, got " + std::to_string(count) +
                                ": the shape overflowed");
  return {count, RTFQ_F32};
}

Cost cost(const ReluForward&, const ElementwiseShape& s) {
  return {8.0 * static_cast<double>(s.count), static_cast<double>(s.count)};
}
Cost cost(const ReluBackward&, const ElementwiseShape& s) {
  return {12.0 * static_cast<double>(s.count), static_cast<double>(s.count)};
}
Cost cost(const Add&, const ElementwiseShape& s) {
  return {12.0 * static_cast<double>(s.count), static_cast<double>(s.count)};
}

}  // namespace rtfq::kernels
