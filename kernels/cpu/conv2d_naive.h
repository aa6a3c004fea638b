#pragma once
// Convolution by plain loops: takes every valid shape, reads weights in place, and gives the same bits
// whatever the number of threads, because each output is summed by one thread in a fixed order.

#include "kernels/conv2d.h"

namespace rtfq::kernels::naive {

void conv2d_forward(const Conv2dShape&, const Conv2dForwardArgs&, Stream);
void conv2d_dgrad(const Conv2dShape&, const Conv2dDgradArgs&, Stream);
void conv2d_wgrad(const Conv2dShape&, const Conv2dWgradArgs&, Stream);

}  // namespace rtfq::kernels::naive
