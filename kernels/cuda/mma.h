#pragma once
// The tensor cores' instructions for one warp, from sm_80 on: ldmatrix and mma.sync on TF32, bf16 and codes. All
// 32 lanes call together. On the executor kernels/simt/matrix.cpp does what the PTX manual says of each lane.
//
// A fragment's layout, lane l being in group g = l / 4 at place t = l % 4: a (16 rows): a[0], a[2] row g,
// a[1], a[3] row g + 8; a[0], a[1] the first 16 bytes of the terms, a[2], a[3] the second, 4 bytes from 4 t.
// b (8 columns): column g, in the same way b0 and b1. d: d[0], d[1] row g, columns 2 t and 2 t + 1; d[2],
// d[3] row g
// + 8. What ldmatrix loads from rows of 16 bytes lies just so.

#include "kernels/cuda/gpu.h"
#if !defined(__CUDACC__)
#include "kernels/simt/matrix.h"
#endif

namespace rtfq::kernels::RTFQ_GPU {

/// Throws unless all of these start at multiples of 16 bytes.
inline void require_aligned_operands(std::initializer_list<const void*> operands) {
  for (const void* operand : operands)
    if (!aligned(operand, 16))
      throw std::invalid_argument(
          "[conv2d] the tensor cores' kernels expect operands at multiples of 16 bytes: take them from "
          "runtime::allocate, or choose \"naive\"");
}

#if defined(__CUDACC__)

/// Four 8x8 matrices of 16-bit elements: lane l gives the address of row l % 8 of matrix l / 8, in shared
/// memory and a multiple of 16 bytes.
__device__ __forceinline__ void ldmatrix(uint32_t (&r)[4], const void* row) {
  const auto from = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(from)
               : "memory");
}
/// Each of them transposed.
__device__ __forceinline__ void ldmatrix_transposed(uint32_t (&r)[4], const void* row) {
  const auto from = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(from)
               : "memory");
}
/// The bits of an f32 rounded to TF32: the nearest, ties away from zero.
__device__ __forceinline__ uint32_t tf32(uint32_t x) {
  uint32_t rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(__uint_as_float(x)));
  return rounded;
}
/// d += a b, 8 terms of TF32 in f32.
__device__ __forceinline__ void mma_tf32(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
/// d += a b, 16 terms of bf16 in f32.
__device__ __forceinline__ void mma_bf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
/// d += a b, 32 terms of codes in s32.
__device__ __forceinline__ void mma_u8_s8(int (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ __forceinline__ void mma_s8_s8(int (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

#else

namespace on_simt {
inline void load(uint32_t (&r)[4], const void* row, bool transposed, simt::device::Place here) {
  if (reinterpret_cast<uintptr_t>(row) % 16)
    throw simt::Error("ldmatrix: the address of a row is not a multiple of 16 bytes");
  uint32_t words[4];
  for (int i = 0; i < 4; ++i) words[i] = static_cast<const uint32_t*>(row)[i];
  simt::device::ldmatrix(r, words, transposed, here);
}
}  // namespace on_simt

inline void ldmatrix(uint32_t (&r)[4], const void* row, SIMT_HERE) {
  on_simt::load(r, row, false, here);
}
inline void ldmatrix_transposed(uint32_t (&r)[4], const void* row, SIMT_HERE) {
  on_simt::load(r, row, true, here);
}
inline uint32_t tf32(uint32_t x) {
  if ((x & 0x7fffffffu) > 0x7f800000u) return 0x7fffe000u;  // a NaN
  return (x + 0x1000u) & ~0x1fffu;
}
inline void mma_tf32(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, SIMT_HERE) {
  simt::device::mma_tf32(d, a, b0, b1, here);
}
inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, SIMT_HERE) {
  simt::device::mma_bf16(d, a, b0, b1, here);
}
inline void mma_u8_s8(int (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, SIMT_HERE) {
  simt::device::mma_u8_s8(d, a, b0, b1, here);
}
inline void mma_s8_s8(int (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, SIMT_HERE) {
  simt::device::mma_s8_s8(d, a, b0, b1, here);
}

#endif

}  // namespace rtfq::kernels::RTFQ_GPU
