#pragma once
// Convolution by oneDNN: NHWC activations as they are, weights in the layout that its kernel asks for.
// Forward and data gradient read weights that pack() laid out once from the strided slice (rounding them to
// bf16 beside bf16 activations); the weight gradient is computed in the library's layout inside the workspace
// and then scaled and stored or added into the parent's strided slice. Codes as the weight gradient's input
// are turned into bf16 or f32 in the workspace, which changes no value.
//
// Refused, because the library would saturate, emulate or run its reference code: codes without 8-bit dot
// products, bf16 without AVX-512 (features.h says what the processor has; from AVX-512 without BF16 on bf16
// is emulated, correct but slower than f32).

#include <string>

#include "kernels/conv2d.h"

namespace rtfq::kernels::onednn {

const char* conv2d_forward_unsupported(const Conv2dShape&);
void conv2d_forward(const Conv2dShape&, const Conv2dForwardArgs&, Stream);
std::size_t conv2d_forward_workspace(const Conv2dShape&);
std::size_t conv2d_forward_packed(const Conv2dShape&);
void conv2d_forward_pack(const Conv2dShape&, const void* weights, void* packed, Stream);
/// Which of its kernels oneDNN uses ("brgconv:avx512_core, weights jit:uni"); "ref", "simple" or "gemm" in it
/// means a slow one.
std::string conv2d_forward_kernel(const Conv2dShape&);

const char* conv2d_dgrad_unsupported(const Conv2dShape&);
void conv2d_dgrad(const Conv2dShape&, const Conv2dDgradArgs&, Stream);
std::size_t conv2d_dgrad_workspace(const Conv2dShape&);
std::size_t conv2d_dgrad_packed(const Conv2dShape&);
void conv2d_dgrad_pack(const Conv2dShape&, const void* weights, void* packed, Stream);
std::string conv2d_dgrad_kernel(const Conv2dShape&);

const char* conv2d_wgrad_unsupported(const Conv2dShape&);
void conv2d_wgrad(const Conv2dShape&, const Conv2dWgradArgs&, Stream);
std::size_t conv2d_wgrad_workspace(const Conv2dShape&);
std::string conv2d_wgrad_kernel(const Conv2dShape&);

}  // namespace rtfq::kernels::onednn
