#pragma once
// What codes stand for, and the factors that a product of codes is multiplied with. Steps are device memory:
// nobody has to read one to launch a kernel.

#include "kernels/operator.h"

namespace rtfq::kernels {

/// `rows` * `inner` dense codes, u8 or s8; one step for all of them (rows = 1) or one a row.
struct DequantizeShape {
  int64_t rows, inner;
  rtfq_dtype type;
};
/// Throws std::invalid_argument ("[dequantize] ...") for another type or negative counts.
DequantizeShape make_dequantize_shape(int64_t rows, int64_t inner, rtfq_dtype type);

/// y = step[row] * f32(code), rounded once.
struct DequantizeArgs {
  const void* codes;
  const float* step;  ///< [rows]
  float* y;
};

struct ScaleProductShape {
  int64_t count;
  bool single;  ///< b has one element, for all of out
};

/// out[i] = a[0] * b[i]: the factor of each output channel of a convolution on codes.
struct ScaleProductArgs {
  const float* a;  ///< [1]
  const float* b;  ///< [count], or [1]
  float* out;      ///< [count]
};

RTFQ_CUDA_OPERATOR(Dequantize, "dequantize", DequantizeShape, DequantizeArgs);
RTFQ_CUDA_OPERATOR(ScaleProduct, "scale_product", ScaleProductShape, ScaleProductArgs);

Cost cost(const Dequantize&, const DequantizeShape&);
Cost cost(const ScaleProduct&, const ScaleProductShape&);

}  // namespace rtfq::kernels
