#pragma once
// Codes of at most 4 bits, stored two in a byte: half the memory and the traffic of 8-bit codes. It is
// storage alone. Products are those of 8-bit codes, exact in s32: Hopper's tensor cores have none of 4 bits.
//
// A line of n codes takes int4_bytes(n) whole bytes: code i lies in byte i / 2, in the low nibble where i is
// even, as it is (unsigned) or in two's complement; the nibble behind an odd number of codes is 0. Of lines
// of an even length this is docs/format.md's order. A line is a row's group of a quantized tensor (a dense
// tensor is one line) and one tap of a filter, of the parent's c_parent channels.

#include "kernels/conv2d.h"
#include "kernels/fakequant.h"

namespace rtfq::kernels {

constexpr int64_t int4_bytes(int64_t codes) {
  return (codes + 1) / 2;
}

/// The signed code of a nibble.
constexpr int int4_code(unsigned nibble) {
  return static_cast<int>(nibble ^ 8u) - 8;
}

/// LSQ codes as kernels/fakequant.h has them, bounds within [0, 15] or [-8, 7].
struct Int4QuantizeArgs {
  const void* x;      ///< strided, see the shape
  const float* step;  ///< [steps], > 0
  uint8_t* codes;     ///< rows * groups lines of cols codes
  void* workspace;
};

/// Conv2dForward on codes: x u8 or s8, weights signed, y f32, bf16 or s32. w_type is s8, which they are when
/// they are multiplied. Weights are read in place: a slice of a wider parent is not copied.
struct Conv2dInt4Args {
  const void* x;        ///< [n,h,w,c], 8-bit codes
  const void* weights;  ///< [k][r][s] lines of c_parent codes
  void* y;              ///< [n,p,q,k], overwritten
  const float* scale;   ///< [k]; not read where y is s32
  void* workspace;
};

RTFQ_CUDA_OPERATOR(Int4Quantize, "int4.quantize", FakeQuantShape, Int4QuantizeArgs);
RTFQ_CUDA_OPERATOR(Conv2dInt4, "int4.conv2d", Conv2dShape, Conv2dInt4Args);

/// Why no kernel takes the shape, or nullptr: codes of more bits; operands that are no codes.
const char* unsupported_codes(const Int4Quantize&, const FakeQuantShape&);
const char* unsupported_codes(const Conv2dInt4&, const Conv2dShape&);

Cost cost(const Int4Quantize&, const FakeQuantShape&);
Cost cost(const Conv2dInt4&, const Conv2dShape&);

}  // namespace rtfq::kernels
