#pragma once
// How quantizers may round, exactly: each rule that a kernel may declare (kernels/plugin.h), in fp64.

#include "kernels/catalog/catalog.h"

namespace rtfq::kernels::catalog {

/// x/step as the rule makes it: rounded to f32 where it says so.
double scaled(float x, float step, rtfq_scaling);
/// The integer nearest to v.
double rounded(double v, rtfq_ties);

/// A code in [low, high] of a value, and what d value / d step is: low or high outside, else the rounding
/// error.
struct Code {
  double v, code, t;
  bool inside;
};
/// A NaN takes the lowest code.
Code code_of(float x, float step, double low, double high, const Contract&);

/// Where the code of an exact value v = x/step may be another one, for a kernel whose v is off by up to
/// `reach`: next to a tie, where it is `neighbour`, or next to a border of what passes a gradient.
struct Nearness {
  bool tie = false, low_border = false, high_border = false;
  double neighbour;  ///< the code itself where there is none
};
Nearness nearness(double v, double reach, double code, double low, double high);

}  // namespace rtfq::kernels::catalog
