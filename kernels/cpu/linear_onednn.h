#pragma once
// Fully connected layers by oneDNN's matmul, which takes the strided weight slice in place at full speed.

#include <string>

#include "kernels/linear.h"

namespace rtfq::kernels::onednn {

const char* linear_unsupported(const LinearShape&);
void linear_forward(const LinearShape&, const LinearForwardArgs&, Stream);
std::size_t linear_forward_workspace(const LinearShape&);
void linear_dgrad(const LinearShape&, const LinearDgradArgs&, Stream);
std::size_t linear_dgrad_workspace(const LinearShape&);
void linear_wgrad(const LinearShape&, const LinearWgradArgs&, Stream);
std::size_t linear_wgrad_workspace(const LinearShape&);

}  // namespace rtfq::kernels::onednn
