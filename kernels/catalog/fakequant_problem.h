#pragma once
// Problems of the fake-quant operators on any shape and data, for every rounding rule that a kernel may
// declare.

#include "kernels/catalog/catalog.h"
#include "kernels/fakequant.h"

namespace rtfq::kernels::catalog::quantizer {

enum class Data {
  exact,    // multiples of an eighth of the step: ties, borders, NaN, infinities; sums are exact
  special,  // the above, and neighbours of the borders by one ulp, denormals and the greatest floats
  random,   // normal
  zeros
};

struct Case {
  std::string name;
  FakeQuantShape shape;
  Data data = Data::exact;
  float step = 0.125f;
  bool large = false;
  std::shared_ptr<const std::vector<float>>
      given{};            ///< x itself, repeated to its size, instead of drawn values
  bool reference = true;  ///< false: nothing is expected of the outputs
};

struct Wanted {
  bool dx, accumulate, ds;
};

std::unique_ptr<Problem<FakeQuantForward>> forward(const Case&, bool values, bool codes,
                                                   const Contract& = {});
std::unique_ptr<Problem<FakeQuantBackward>> backward(const Case&, Wanted, const Contract& = {});
std::unique_ptr<Problem<AbsSum>> abs_sum(const Case&, bool notable);

}  // namespace rtfq::kernels::catalog::quantizer
