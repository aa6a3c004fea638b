#pragma once
// One warpgroup's product D[64][n] = A B of tiles in shared memory, the way the convolutions bring them
// there, each form of operand once. On the executor with faults, to see that it finds them; on a GPU
// (tests/gpu/wgmma_check.cu) to see that descriptors, swizzles and fences mean there what the executor takes
// them for.

#include <cstdint>
#include <vector>

#include "kernels/simt/hopper.h"

namespace rtfq::test {

enum class TileFault {
  none,
  no_copy_wait,
  no_proxy_fence,
  no_barrier,
  no_bulk_wait,
  no_wgmma_wait,
  no_wgmma_fence,
  no_init_fence,
  no_init_barrier,
  other_swizzle,
  too_many_bytes,
  wrong_stride,
  overwritten_operand
};

/// A [64][steps*128 bytes] is gathered with cp.async; B lies in memory as [steps] tiles of n rows, swizzled,
/// and comes as bulk copies. Two stages; one group in flight.
template <simt::Product kind, int n, TileFault fault>
__global__ void __launch_bounds__(128) product_of_rows(const unsigned char* a, const unsigned char* b,
                                                       typename simt::ProductTypes<kind>::Sum* d, int steps) {
  constexpr int a_bytes = 64 * 128, b_bytes = n * 128, stage_bytes = a_bytes + b_bytes;
  SIMT_DYNAMIC_SHARED(unsigned char, memory);
  SIMT_SHARED(uint64_t, full, [2]);
  unsigned char* stages = memory + (1024 - simt::shared_address(memory) % 1024) % 1024;
  const int t = static_cast<int>(threadIdx.x);
  if (t == 0) {
    simt::mbarrier_init(&full[0], 1);
    simt::mbarrier_init(&full[1], 1);
    if (fault != TileFault::no_init_fence) simt::mbarrier_init_fence();
  }
  if (fault != TileFault::no_init_barrier) __syncthreads();
  const auto load = [&](int step) {
    unsigned char* stage = stages + step % 2 * stage_bytes;
    if (step < steps) {
      for (int i = t; i < 64 * 8; i += 128) {
        const auto row = static_cast<uint32_t>(i / 8), chunk = static_cast<uint32_t>(i % 8);
        const uint32_t to =
            fault == TileFault::other_swizzle ? row * 128 + chunk * 16 : simt::swizzled(row, chunk);
        simt::copy_async<16>(stage + to, a + (static_cast<int64_t>(row) * steps + step) * 128 + 16 * chunk);
      }
      if (t == 0) {
        simt::mbarrier_arrive_expect(&full[step % 2],
                                     b_bytes + (fault == TileFault::too_many_bytes ? 16 : 0));
        simt::copy_bulk(stage + a_bytes, b + static_cast<int64_t>(step) * b_bytes, b_bytes, &full[step % 2]);
      }
    }
    simt::copy_async_commit();
  };
  typename simt::ProductTypes<kind>::Sum sum[n / 2] = {};
  load(0);
  for (int step = 0; step < steps; ++step) {
    load(step + 1);
    if (fault != TileFault::no_copy_wait) simt::copy_async_wait<1>();
    if (fault != TileFault::no_proxy_fence) simt::fence_proxy_async();
    if (fault != TileFault::no_bulk_wait)
      simt::mbarrier_wait(&full[step % 2], static_cast<uint32_t>(step / 2 % 2));
    if (fault != TileFault::no_barrier) __syncthreads();
    const uint32_t stage = simt::shared_address(stages + step % 2 * stage_bytes);
    if (fault != TileFault::no_wgmma_fence) simt::wgmma_fence();
    constexpr uint32_t stride = fault == TileFault::wrong_stride ? 2048 : 1024;
#pragma unroll
    for (uint32_t inner = 0; inner < 4; ++inner)
      simt::wgmma<kind, n>(sum, simt::matrix_descriptor(stage + 32 * inner, 0, stride),
                           simt::matrix_descriptor(stage + a_bytes + 32 * inner, 0, 1024));
    simt::wgmma_commit();
    if (fault == TileFault::overwritten_operand)  // as results would be that are written too soon
      reinterpret_cast<volatile uint32_t*>(stages + step % 2 * stage_bytes)[t] = 0x3f803f80u;
    if (fault != TileFault::no_wgmma_wait) simt::wgmma_wait<0>();
    __syncthreads();
  }
  simt::wgmma_wait<0>();
  const int row = t / 32 * 16 + t % 32 / 4, column = t % 4 * 2;
#pragma unroll
  for (int i = 0; i < n / 2; ++i) d[(row + i / 2 % 2 * 8) * n + i / 4 * 8 + column + i % 2] = sum[i];
}

/// The same of bf16 operands that lie the other way: A [depth][64], B [depth][n], depth a multiple of 16 up
/// to 64; stored into shared memory by ordinary stores.
template <int n>
__global__ void __launch_bounds__(128)
    product_of_columns(const unsigned char* a, const unsigned char* b, float* d, int depth) {
  constexpr uint32_t panel = 64 * 128;
  SIMT_DYNAMIC_SHARED(unsigned char, memory);
  unsigned char* tiles = memory + (1024 - simt::shared_address(memory) % 1024) % 1024;
  const int t = static_cast<int>(threadIdx.x);
  for (int i = t; i < depth * 8 * (1 + n / 64); i += 128) {
    const auto chunk = static_cast<uint32_t>(i % 8), row = static_cast<uint32_t>(i / 8 % depth);
    const int tile = i / 8 / depth;
    const unsigned char* from = tile == 0
                                    ? a + row * 128 + 16 * chunk
                                    : b + static_cast<int64_t>(row) * n * 2 + (tile - 1) * 128 + 16 * chunk;
    simt::store_operand(tiles + static_cast<uint32_t>(tile) * panel + simt::swizzled(row, chunk),
                        *reinterpret_cast<const uint4*>(from));
  }
  simt::fence_proxy_async();
  __syncthreads();
  float sum[n / 2] = {};
  const uint32_t at = simt::shared_address(tiles);
  for (uint32_t k = 0; k < static_cast<uint32_t>(depth); k += 16) {
    simt::wgmma_fence();
    simt::wgmma<simt::Product::bf16, n, simt::Major::mn, simt::Major::mn>(
        sum, simt::matrix_descriptor(at + k * 128, panel, 1024),
        simt::matrix_descriptor(at + panel + k * 128, panel, 1024));
    simt::wgmma_commit();
    simt::wgmma_wait<0>();
  }
  const int row = t / 32 * 16 + t % 32 / 4, column = t % 4 * 2;
#pragma unroll
  for (int i = 0; i < n / 2; ++i) d[(row + i / 2 % 2 * 8) * n + i / 4 * 8 + column + i % 2] = sum[i];
}

/// Operands of small integers, as bytes, and D as it must be.
template <simt::Product kind>
struct TileProblem {
  using Sum = typename simt::ProductTypes<kind>::Sum;
  std::vector<unsigned char> a, b;
  std::vector<Sum> d;

  /// `columns`: both operands stored [depth][rows] (bf16 alone); otherwise B's tiles are swizzled.
  TileProblem(int n, int depth, bool columns) : d(static_cast<std::size_t>(64 * n)) {
    constexpr int bytes = simt::ProductTypes<kind>::bytes;
    const auto size = [&](int rows) { return static_cast<std::size_t>(rows * depth * bytes); };
    a.resize(size(64));
    b.resize(size(n));
    std::vector<int> left(static_cast<std::size_t>(64 * depth)), right(static_cast<std::size_t>(n * depth));
    uint32_t state = 12345;
    const auto draw = [&](int low, int high) {
      state = state * 1664525u + 1013904223u;
      return low + static_cast<int>((state >> 8) % static_cast<uint32_t>(high - low + 1));
    };
    const bool codes = kind != simt::Product::bf16;
    for (int& x : left) x = !codes ? draw(-8, 8) : kind == simt::Product::u8 ? draw(0, 255) : draw(-128, 127);
    for (int& x : right) x = codes ? draw(-128, 127) : draw(-8, 8);
    const auto put = [&](std::vector<unsigned char>& to, std::size_t at, int value) {
      if constexpr (bytes == 1) {
        to[at] = static_cast<unsigned char>(value);
      } else {
        const auto f = static_cast<float>(value);
        uint32_t bits;
        __builtin_memcpy(&bits, &f, 4);  // small integers have 16 zero bits below
        to[2 * at] = static_cast<unsigned char>(bits >> 16);
        to[2 * at + 1] = static_cast<unsigned char>(bits >> 24);
      }
    };
    for (int k = 0; k < depth; ++k) {
      for (int i = 0; i < 64; ++i)
        put(a, static_cast<std::size_t>(columns ? k * 64 + i : i * depth + k),
            left[static_cast<std::size_t>(i * depth + k)]);
      for (int i = 0; i < n; ++i) {
        constexpr int row = 128 / bytes, chunk = 16 / bytes;
        const int tiled = k / row * row * n +
                          static_cast<int>(simt::swizzled(static_cast<uint32_t>(i),
                                                          static_cast<uint32_t>(k % row / chunk))) /
                              bytes +
                          k % chunk;
        put(b, static_cast<std::size_t>(columns ? k * n + i : tiled),
            right[static_cast<std::size_t>(i * depth + k)]);
      }
    }
    for (int i = 0; i < 64; ++i)
      for (int j = 0; j < n; ++j) {
        int sum = 0;
        for (int k = 0; k < depth; ++k)
          sum +=
              left[static_cast<std::size_t>(i * depth + k)] * right[static_cast<std::size_t>(j * depth + k)];
        d[static_cast<std::size_t>(i * n + j)] = static_cast<Sum>(sum);
      }
  }
};

constexpr std::size_t tile_shared_bytes(int n, int stages) {
  return static_cast<std::size_t>(stages * (64 + n) * 128 + 1024);
}

}  // namespace rtfq::test
