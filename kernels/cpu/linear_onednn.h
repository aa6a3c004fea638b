#pragma once
// Fully connected layers by oneDNN's matmul, which takes the strided weight slice in place at full speed.

#include <string>

#include "kernels/linear.h"

namespace rtfq::kernels::onednn {

/// On codes the product is taken in s32 and scaled by a pass of our own, so that the roundings are the
/// header's whatever the library does.
const char* linear_forward_unsupported(const LinearShape&);
void linear_forward(const LinearShape&, const LinearForwardArgs&, Stream);
/// The library's kernel, as conv2d_forward_kernel's.
std::string linear_forward_kernel(const LinearShape&);
std::size_t linear_forward_workspace(const LinearShape&);

/// The gradients'.
const char* linear_unsupported(const LinearShape&);
void linear_dgrad(const LinearShape&, const LinearDgradArgs&, Stream);
std::size_t linear_dgrad_workspace(const LinearShape&);
void linear_wgrad(const LinearShape&, const LinearWgradArgs&, Stream);
std::size_t linear_wgrad_workspace(const LinearShape&);

}  // namespace rtfq::kernels::onednn
