#pragma once
// Convolution of 8-bit codes for processors without VNNI: codes widened to 16 bits, multiplied and added in
// pairs into 32 (vpmaddwd), which is exact. A library's u8 x s8 instruction of that age (vpmaddubsw) adds
// pairs in 16 bits and saturates from 129 x 128 on.

#include "kernels/conv2d.h"

namespace rtfq::kernels::widening {

const char* conv2d_forward_unsupported(const Conv2dShape&);
void conv2d_forward(const Conv2dShape&, const Conv2dForwardArgs&, Stream);
std::size_t conv2d_forward_workspace(const Conv2dShape&);
std::size_t conv2d_forward_packed(const Conv2dShape&);
void conv2d_forward_pack(const Conv2dShape&, const void* weights, void* packed, Stream);

}  // namespace rtfq::kernels::widening
