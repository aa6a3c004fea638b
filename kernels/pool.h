#pragma once
// Max pooling over a square window and global average pooling, on f32 or bf16 (arithmetic f32, results rounded once, to the
// nearest even).

#include "kernels/operator.h"

namespace rtfq::kernels {

using PoolShape = rtfq_pool_shape;
/// Throws std::invalid_argument ("[pool] ...") for empty inputs or outputs, or pad >= window. window*window <= 256. `type`:
/// f32 or bf16, and u8 codes for the mean and for the maximum without its places.
PoolShape make_pool_shape(int64_t n, int64_t h, int64_t w, int64_t c, int64_t window, int64_t stride, int64_t pad,
                          rtfq_dtype type = RTFQ_F32);
int64_t output_height(const PoolShape&);
int64_t output_width(const PoolShape&);

struct MaxPoolForwardArgs {
  const void* x;
  void* y;         ///< [n,p,q,c]
  uint8_t* index;  ///< [n,p,q,c] place of the maximum in its window, row by row, the first of equals; or nullptr
};
struct MaxPoolBackwardArgs {
  const void* g;
  const uint8_t* index;
  void* dx;  ///< [n,h,w,c], overwritten
};
/// y[n,c] = mean over h*w (window, stride and pad are ignored), summed in f32 with more than one partial sum. Of u8 codes
/// the sums are exact and y is f32(sum) / f32(h*w), f32, times `scale` where it is given (one more rounding).
struct AveragePoolForwardArgs {
  const void* x;
  void* y;
  const float* scale = nullptr;  ///< [1], with codes alone
};
struct AveragePoolBackwardArgs {
  const void* g;  ///< [n,c]
  void* dx;       ///< [n,h,w,c], overwritten
};

RTFQ_CUDA_OPERATOR(MaxPoolForward, "maxpool.forward", PoolShape, MaxPoolForwardArgs);
RTFQ_CUDA_OPERATOR(MaxPoolBackward, "maxpool.backward", PoolShape, MaxPoolBackwardArgs);
RTFQ_CUDA_OPERATOR(AveragePoolForward, "avgpool.forward", PoolShape, AveragePoolForwardArgs);
RTFQ_CUDA_OPERATOR(AveragePoolBackward, "avgpool.backward", PoolShape, AveragePoolBackwardArgs);

Cost cost(const MaxPoolForward&, const PoolShape&);
Cost cost(const MaxPoolBackward&, const PoolShape&);
Cost cost(const AveragePoolForward&, const PoolShape&);
Cost cost(const AveragePoolBackward&, const PoolShape&);

}  // namespace rtfq::kernels
