#pragma once
// Convolution of 8-bit codes for processors without VNNI, by pairs of products in 16 bits
// (convquant_pairs.h): u8 codes of channels in fours, and s8 images of few channels. conv2d_widening.h takes
// the others.

#include "kernels/conv2d.h"

namespace rtfq::kernels::pairs {

const char* conv2d_forward_unsupported(const Conv2dShape&);
void conv2d_forward(const Conv2dShape&, const Conv2dForwardArgs&, Stream);
std::size_t conv2d_forward_workspace(const Conv2dShape&);
std::size_t conv2d_forward_packed(const Conv2dShape&);
void conv2d_forward_pack(const Conv2dShape&, const void* weights, void* packed, Stream);

}  // namespace rtfq::kernels::pairs
