#pragma once
// The convolutions of kernels/cuda, one pair of functions an implementation: what it refuses, and its launch.

#include "kernels/conv2d.h"
#include "kernels/cuda/gpu.h"

namespace rtfq::kernels::RTFQ_GPU {

const char* conv2d_naive_unsupported(const Conv2dForward&, const Conv2dShape&);
const char* conv2d_naive_unsupported(const Conv2dDgrad&, const Conv2dShape&);
const char* conv2d_naive_unsupported(const Conv2dWgrad&, const Conv2dShape&);
void conv2d_naive(const Conv2dShape&, const Conv2dForwardArgs&, Stream);
void conv2d_naive(const Conv2dShape&, const Conv2dDgradArgs&, Stream);
void conv2d_naive(const Conv2dShape&, const Conv2dWgradArgs&, Stream);

}  // namespace rtfq::kernels::RTFQ_GPU
