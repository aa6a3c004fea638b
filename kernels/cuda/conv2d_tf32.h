#pragma once
// The convolutions in TF32 (kernels/tf32.h), on tiles of a size or by cost, and how their f32 weights are laid
// out where they are not read in place.

#include "kernels/conv2d.h"
#include "kernels/cuda/conv2d_geometry.h"
#include "kernels/tf32.h"

namespace rtfq::kernels::RTFQ_GPU {

/// What refuses shapes of other types, and every one while TF32 is not allowed.
inline const char* tf32_types_unsupported(const Conv2dShape& s) {
  if (s.x_type != RTFQ_F32 || s.y_type != RTFQ_F32) return "takes f32 operands";
  return tf32_allowed() ? nullptr : "rounds operands to TF32, which is not allowed";
}

// By mma.sync (conv2d_mma_tf32.cu, conv2d_wgrad_tf32.cu).
const char* conv2d_tf32_unsupported(const Conv2dForward&, const Conv2dShape&);
const char* conv2d_tf32_unsupported(const Conv2dDgrad&, const Conv2dShape&);
const char* conv2d_tf32_unsupported(const Conv2dWgrad&, const Conv2dShape&);
template <ConvTile>
void conv2d_tf32(const Conv2dShape&, const Conv2dForwardArgs&, Stream);
template <ConvTile>
void conv2d_tf32(const Conv2dShape&, const Conv2dDgradArgs&, Stream);
template <ConvTile>
void conv2d_tf32(const Conv2dShape&, const Conv2dWgradArgs&, Stream);
template <ConvTile>
std::size_t conv2d_wgrad_tf32_bytes(const Conv2dShape&);

/// Of few channels: the image is copied to the workspace first.
const char* conv2d_tf32_folded_unsupported(const Conv2dForward&, const Conv2dShape&);
void conv2d_tf32_folded(const Conv2dShape&, const Conv2dForwardArgs&, Stream);
std::size_t conv2d_tf32_folded_x_bytes(const Conv2dShape&);

// pack_turned and pack_folded with f32 in the place of bf16 (conv2d_geometry.cu).
void pack_turned_f32(const Conv2dShape&, const void* weights, void* packed, Stream);
void pack_folded_f32(const Conv2dShape&, const void* weights, void* packed, Stream);
std::size_t packed_f32_bytes(const Conv2dShape&);
std::size_t packed_folded_f32_bytes(const Conv2dShape&);

}  // namespace rtfq::kernels::RTFQ_GPU
