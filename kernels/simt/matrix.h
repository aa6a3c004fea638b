#pragma once
// The warp's matrix instructions as the executor has them (ldmatrix, mma.sync): lane by lane what the PTX
// manual lays down, for all 32 lanes at once when the last of them arrives. What a GPU leaves open, the order
// in which a product's terms are added, is here: exactly, rounded once.

#include "kernels/simt/device_runtime.h"

namespace rtfq::simt::device {

/// ldmatrix.x4: four 8x8 matrices of 16-bit elements, of which lane l has read row l % 8 of matrix l / 8
/// (16 bytes, `row`); as they are or each transposed.
void ldmatrix(uint32_t (&registers)[4], const uint32_t (&row)[4], bool transposed, Place);

/// d += a b. a: 16 x 16 by rows, b: 16 x 8 by columns, bf16; d: f32.
void mma_bf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, Place);
/// d += a b. a: 16 x 8 by rows, b: 8 x 8 by columns, TF32 in the bits of f32; d: f32. Throws Error where an operand has
/// bits that TF32 does not have.
void mma_tf32(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, Place);
/// d += a b. a: 16 x 32 by rows, u8 or s8, b: 32 x 8 by columns, s8; d: s32.
void mma_u8_s8(int (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, Place);
void mma_s8_s8(int (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, Place);

}  // namespace rtfq::simt::device
