#pragma once
// The GPU's kernels on 4-bit storage; what they compute is stated in kernels/int4.h.

#include "kernels/cuda/conv2d_geometry.h"
#include "kernels/cuda/values.h"
#include "kernels/int4.h"

namespace rtfq::kernels::RTFQ_GPU {

namespace access {
/// Bytes of two words in turn: the lower two of each, and the upper two.
#if defined(__CUDACC__)
__device__ __forceinline__ uint32_t low_in_turn(uint32_t a, uint32_t b) {
  return __byte_perm(a, b, 0x5140);
}
__device__ __forceinline__ uint32_t high_in_turn(uint32_t a, uint32_t b) {
  return __byte_perm(a, b, 0x7362);
}
#else
inline uint32_t low_in_turn(uint32_t a, uint32_t b) {
  return (a & 0xffu) | (b & 0xffu) << 8 | (a >> 8 & 0xffu) << 16 | (b >> 8 & 0xffu) << 24;
}
inline uint32_t high_in_turn(uint32_t a, uint32_t b) {
  return low_in_turn(a >> 16, b >> 16);
}
#endif
}  // namespace access

/// Sixteen signed nibbles as bytes in two's complement.
__device__ __forceinline__ access::Words<4> int4_bytes_of(const access::Words<2>& nibbles) {
  access::Words<4> bytes;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    uint32_t half[2] = {nibbles.w[i] & 0x0f0f0f0fu, nibbles.w[i] >> 4 & 0x0f0f0f0fu};
    // A nibble's sign is spread over the byte's upper half: 8 * 0x1e = 0xf0.
#pragma unroll
    for (uint32_t& codes : half) codes |= (codes & 0x08080808u) * 0x1eu;
    bytes.w[2 * i] = access::low_in_turn(half[0], half[1]);
    bytes.w[2 * i + 1] = access::high_in_turn(half[0], half[1]);
  }
  return bytes;
}

const char* int4_quantize_unsupported(const FakeQuantShape&);
const char* int4_quantize_vector_unsupported(const FakeQuantShape&);
void int4_quantize_vector(const FakeQuantShape&, const Int4QuantizeArgs&, Stream);
void int4_quantize_naive(const FakeQuantShape&, const Int4QuantizeArgs&, Stream);

const char* conv2d_int4_mma_unsupported(const Conv2dShape&);
template <ConvTile>
void conv2d_int4_mma(const Conv2dShape&, const Conv2dInt4Args&, Stream);
const char* conv2d_int4_naive_unsupported(const Conv2dShape&);
void conv2d_int4_naive(const Conv2dShape&, const Conv2dInt4Args&, Stream);

}  // namespace rtfq::kernels::RTFQ_GPU
