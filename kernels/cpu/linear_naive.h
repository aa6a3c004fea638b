#pragma once
// Fully connected layers by plain loops; the same bits whatever the number of threads.

#include "kernels/linear.h"

namespace rtfq::kernels::naive {

const char* linear_forward_unsupported(const LinearShape&);
/// The gradients'.
const char* linear_unsupported(const LinearShape&);

void linear_forward(const LinearShape&, const LinearForwardArgs&, Stream);
void linear_dgrad(const LinearShape&, const LinearDgradArgs&, Stream);
void linear_wgrad(const LinearShape&, const LinearWgradArgs&, Stream);

}  // namespace rtfq::kernels::naive
