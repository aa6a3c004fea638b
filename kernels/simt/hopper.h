#pragma once
// What Hopper (sm_90a) adds for kernels: warpgroup products (wgmma) on operands in shared memory, mbarriers,
// bulk copies, the fence between ordinary writes and the asynchronous proxy. A kernel includes this after
// simt.h; on other GPUs these functions trap, so that whoever launches asks for compute capability 9.0 first.
//
//   copy_async_wait<n>(); fence_proxy_async(); __syncthreads();   what this and other threads copied can be
//   read by wgmma wgmma_fence(); wgmma<...>(...); ...; wgmma_commit();          a group; its accumulators are
//   not touched until wgmma_wait<n>();                                              at most n groups are in
//   flight
//
// Operands are tiles of rows of 128 bytes under the 128-byte swizzle: byte b of row r of a tile that starts
// on a multiple of 1024 bytes lies at r*128 + (b ^ (r % 8) * 16) (`swizzled`).

#include "kernels/simt/simt.h"

namespace rtfq::simt {

/// What a product multiplies: bf16 x bf16 into f32 over 16, or u8 x s8 or s8 x s8 into s32 over 32 elements a
/// step.
enum class Product { bf16, u8, s8 };

template <Product kind>
struct ProductTypes {
  using Sum = int;
  static constexpr int bytes = 1;  ///< of an element
};
template <>
struct ProductTypes<Product::bf16> {
  using Sum = float;
  static constexpr int bytes = 2;
};

/// Which index runs along the rows of 128 bytes: the one summed over (k), or the other (mn; bf16 alone).
enum class Major { k, mn };

/// Where 16-byte chunk `chunk` of row `row` lies, in bytes from the start of the tile.
__host__ __device__ constexpr uint32_t swizzled(uint32_t row, uint32_t chunk) {
  return row * 128 + (chunk ^ row % 8) * 16;
}

/// A matrix descriptor for the 128-byte swizzle. `leading`: bytes between panels of 64 elements (mn-major
/// alone, where the tile is wider); `stride`: bytes between groups of 8 rows.
__host__ __device__ constexpr uint64_t matrix_descriptor(uint32_t address, uint32_t leading,
                                                         uint32_t stride) {
  return uint64_t{(address & 0x3ffff) >> 4} | uint64_t{leading >> 4} << 16 | uint64_t{stride >> 4} << 32 |
         1ull << 62;
}

}  // namespace rtfq::simt

#if defined(__CUDACC__)
#include "kernels/simt/hopper_nvcc.h"
#else
#include "kernels/simt/hopper_host.h"
#endif
