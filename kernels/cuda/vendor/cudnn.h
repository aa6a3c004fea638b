#pragma once
// Convolutions of NVIDIA's cuDNN, which is opened at run time where it is installed; nothing here needs it to
// link. It takes dense weights: a slice is copied first. f32 without TF32, and bf16 with sums in f32; the
// weight gradient in f32 only, since of bf16 operands the library gives it rounded to bf16. Only algorithms
// that add products as they are (no Fourier or Winograd transforms) and give the same bits again. Never run
// on a GPU.

#include <cstddef>
#include <string>

#include "kernels/conv2d.h"

namespace rtfq::kernels::vendor {

enum class Direction { forward, dgrad, wgrad };

/// Why there is no cuDNN, or an empty string. Touches no GPU.
const std::string& cudnn_missing();
/// Why it refuses, or nullptr. The library is asked once for each shape, which needs a GPU; without one, that
/// is the reason.
const char* cudnn_unsupported(Direction, const Conv2dShape&);
std::size_t cudnn_workspace(Direction, const Conv2dShape&);
/// `x`, `w` and `y` are the operands of those places, one of which is written: dense NHWC and KRSC in the
/// shape's x type, on multiples of 16 bytes. Throws std::runtime_error ("[cudnn] ...") where
/// `cudnn_unsupported` has a reason.
void cudnn_run(Direction, const Conv2dShape&, void* x, void* w, void* y, void* workspace, Stream);

}  // namespace rtfq::kernels::vendor
