#pragma once
// Arrays for and from NumPy: how others check what a network computes.

#include <string>

#include "engine/tensor.h"

namespace rtfq {

/// An f32 tensor of a .npy file, whatever its type and order there. Throws std::runtime_error naming the file
/// and what is wrong with it, also for more than 4 dimensions.
Tensor load_npy(const std::string& path);
/// A dense f32 tensor as a .npy file, atomically.
void save_npy(const std::string& path, const Tensor&);

/// [n,h,w,c] of images [n,c,h,w], and back.
Tensor nchw_to_nhwc(const Tensor&);
Tensor nhwc_to_nchw(const Tensor&);

}  // namespace rtfq
