#pragma once
// The convolutions of kernels/cuda, one pair of functions an implementation: what it refuses, and its launch.

#include "kernels/conv2d.h"
#include "kernels/cuda/conv2d_geometry.h"
#include "kernels/cuda/gpu.h"

namespace rtfq::kernels::RTFQ_GPU {

const char* conv2d_naive_unsupported(const Conv2dForward&, const Conv2dShape&);
const char* conv2d_naive_unsupported(const Conv2dDgrad&, const Conv2dShape&);
const char* conv2d_naive_unsupported(const Conv2dWgrad&, const Conv2dShape&);
void conv2d_naive(const Conv2dShape&, const Conv2dForwardArgs&, Stream);
void conv2d_naive(const Conv2dShape&, const Conv2dDgradArgs&, Stream);
void conv2d_naive(const Conv2dShape&, const Conv2dWgradArgs&, Stream);

// By ordinary multiply-adds, in f32 (conv2d_f32.cu, conv2d_wgrad_f32.cu).
const char* conv2d_f32_unsupported(const Conv2dForward&, const Conv2dShape&);
const char* conv2d_f32_unsupported(const Conv2dDgrad&, const Conv2dShape&);
const char* conv2d_f32_unsupported(const Conv2dWgrad&, const Conv2dShape&);
void conv2d_f32(const Conv2dShape&, const Conv2dForwardArgs&, Stream);
void conv2d_f32(const Conv2dShape&, const Conv2dDgradArgs&, Stream);
void conv2d_f32(const Conv2dShape&, const Conv2dWgradArgs&, Stream);
std::size_t conv2d_wgrad_f32_bytes(const Conv2dShape&);

// On tensor cores (conv2d_mma.h, conv2d_wgrad_mma.cu), on tiles of a size or by cost.
const char* conv2d_mma_bf16_unsupported(const Conv2dForward&, const Conv2dShape&);
const char* conv2d_mma_bf16_unsupported(const Conv2dDgrad&, const Conv2dShape&);
template <ConvTile>
void conv2d_forward_mma_bf16(const Conv2dShape&, const Conv2dForwardArgs&, Stream);
template <ConvTile>
void conv2d_dgrad_mma_bf16(const Conv2dShape&, const Conv2dDgradArgs&, Stream);

const char* conv2d_mma_codes_unsupported(const Conv2dForward&, const Conv2dShape&);
template <ConvTile>
void conv2d_forward_mma_codes(const Conv2dShape&, const Conv2dForwardArgs&, Stream);

/// Of few channels: the image is copied to the workspace first.
const char* conv2d_mma_bf16_folded_unsupported(const Conv2dForward&, const Conv2dShape&);
const char* conv2d_mma_codes_folded_unsupported(const Conv2dForward&, const Conv2dShape&);
void conv2d_mma_bf16_folded(const Conv2dShape&, const Conv2dForwardArgs&, Stream);
void conv2d_mma_codes_folded(const Conv2dShape&, const Conv2dForwardArgs&, Stream);
std::size_t conv2d_folded_x_bytes(const Conv2dShape&);

const char* conv2d_wgrad_mma_unsupported(const Conv2dWgrad&, const Conv2dShape&);
template <ConvTile>
void conv2d_wgrad_mma(const Conv2dShape&, const Conv2dWgradArgs&, Stream);
template <ConvTile>
std::size_t conv2d_wgrad_mma_bytes(const Conv2dShape&);

// By Hopper's warpgroup products (conv2d_wgmma.h). `tile`: 64, 96, 128, 192 or 256 columns,
// 1000 more for a block that has a multiprocessor's shared memory alone; 0: the shape decides.
const char* conv2d_wgmma_unsupported(const Conv2dForward&, const Conv2dShape&);
const char* conv2d_wgmma_unsupported(const Conv2dDgrad&, const Conv2dShape&);
void conv2d_wgmma(int tile, const Conv2dShape&, const Conv2dForwardArgs&, Stream);
void conv2d_wgmma(int tile, const Conv2dShape&, const Conv2dDgradArgs&, Stream);
/// `tile`: rows * 1000 + columns, 1000000 more for a deep one.
const char* conv2d_wgmma_unsupported(const Conv2dWgrad&, const Conv2dShape&);
void conv2d_wgmma(int tile, const Conv2dShape&, const Conv2dWgradArgs&, Stream);
std::size_t conv2d_wgmma_workspace(int tile, const Conv2dShape&);
std::size_t conv2d_wgmma_packed(const Conv2dForward&, const Conv2dShape&);
std::size_t conv2d_wgmma_packed(const Conv2dDgrad&, const Conv2dShape&);
void conv2d_wgmma_pack(const Conv2dForward&, const Conv2dShape&, const void* weights, void* packed, Stream);
void conv2d_wgmma_pack(const Conv2dDgrad&, const Conv2dShape&, const void* weights, void* packed, Stream);

}  // namespace rtfq::kernels::RTFQ_GPU
