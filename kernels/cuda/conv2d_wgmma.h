#pragma once
// Convolution as an implicit matrix product by Hopper's warpgroup products (kernels/simt/hopper.h): the loop
// that all types and directions share. Operands as conv2d_geometry.h has them, weights as
// conv2d_wgmma_pack.cu lays them out.
//
// A block of two warpgroups takes a tile of 128 pixels x n channels, n = 64 to 256, a warpgroup 64 of its
// rows; its sums stay in registers, n/2 a thread. The sum goes in steps of 128 bytes: 64 bf16 or 128 codes. A
// ring of stages holds a step's operands each: 128 rows of pixels, which all threads gather by copies of 16
// bytes, zeros where a tap misses the image, and n rows of weights, which lie in memory as they are to lie in
// the stage and come as one bulk copy. A thread copies the same chunk of four rows in every step. One group
// of products is in flight while the next operands are waited for:
//
//   step i:  wait for own copies of i; fence; wait for weights of i; barrier: all have products up to i-2
//   behind them
//            queue products of i; copy operands of i+stages-2 over those of i-2; wait for products of i-1
//
// Results go through shared memory, so that whole chunks of 16 bytes of a row leave at once.

#include <stdexcept>
#include <string>

#include "kernels/cuda/conv2d_geometry.h"
#include "kernels/cuda/values.h"
#include "kernels/simt/hopper.h"

namespace rtfq::kernels::RTFQ_GPU::wgmma {

constexpr int rows = 128, threads = 256, step_bytes = 128;
/// Added to a tile's columns: deep (stages_of).
constexpr int deep_tile = 1000;

/// Where a part's packed weights begin, in bytes, and steps of its sum: [step][weight_rows][128 bytes],
/// swizzled.
struct Part {
  int64_t weights;
  int steps;
};
struct Packing {
  Part part[ConvProduct::most_parts];
  int weight_rows;  ///< the columns, filled up to a multiple of 8
  std::size_t bytes;
};
/// Of operands of `element` bytes.
Packing packing_of(const ConvProduct&, int element);
/// f32 weights to bf16, s8 ones as they are.
void pack(const Conv2dShape&, const ConvProduct&, bool dgrad, const void* weights, void* packed, Stream);

/// Launches with a tile of that many columns (64, 96, 128, 192, 256), `deep_tile` more for a deep one, or
/// with the one that tile_columns names where `tile` is 0.
void launch_bf16(const ConvProduct&, int tile, const void* x, const void* packed, void* y, Stream);
void launch_codes(const ConvProduct&, int tile, rtfq_dtype x_type, const void* x, const void* packed,
                  const float* scale, rtfq_dtype y_type, void* y, Stream);

/// Stages of the ring. Up to 128 columns two blocks fit on a multiprocessor, and each has what leaves room
/// for the other; `deep`: where there is no other, all that shared memory holds, so that operands of four to
/// six steps are on their way. With more columns a block is always alone.
__host__ __device__ constexpr int stages_of(int columns, bool deep) {
  if (columns > 128) return columns <= 192 ? 5 : 4;
  if (deep) return columns <= 64 ? 8 : columns <= 96 ? 7 : 6;
  return columns <= 64 ? 4 : 3;
}
__host__ __device__ constexpr int stage_bytes(int columns) {
  return (rows + columns) * step_bytes;
}
constexpr std::size_t shared_bytes(int columns, bool deep) {
  return static_cast<std::size_t>(stages_of(columns, deep) * stage_bytes(columns) + 1024);
}

/// Two neighbouring results as they are stored.
template <class Y, class Sum>
__device__ __forceinline__ void put_pair(unsigned char* to, Sum first, Sum second, float scale0,
                                         float scale1) {
  if constexpr (std::is_same_v<Y, int>) {
    *reinterpret_cast<int2*>(to) = int2{first, second};
  } else {
    float a = static_cast<float>(first), b = static_cast<float>(second);
    if constexpr (std::is_same_v<Sum, int>) {
      a *= scale0;
      b *= scale1;
    }
    if constexpr (std::is_same_v<Y, float>)
      *reinterpret_cast<float2*>(to) = float2{a, b};
    else
      *reinterpret_cast<uint32_t*>(to) = access::pack_bf16(a, b);
  }
}

/// A warp's 16 rows of the tile: from registers to shared memory, from there to y.
template <class Y, int columns, class Sum>
__device__ __forceinline__ void write_rows(const ConvProduct& z, const ConvPart& part, int first_row,
                                           int first_column, const Sum (&sum)[columns / 2],
                                           const float* scale, unsigned char* memory, Y* y) {
  constexpr int pitch = columns * static_cast<int>(sizeof(Y)) + 16, chunk = per_access<Y>;
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  unsigned char* own = memory + warp * 16 * pitch;
#pragma unroll
  for (int j = 0; j < columns / 8; ++j) {
    const int column = 8 * j + lane % 4 * 2;
    float scale0 = 0, scale1 = 0;
    if constexpr (std::is_same_v<Sum, int> && !std::is_same_v<Y, int>)
      if (first_column + column < z.columns) {  // columns are even
        scale0 = scale[first_column + column];
        scale1 = scale[first_column + column + 1];
      }
    unsigned char* to = own + lane / 4 * pitch + column * static_cast<int>(sizeof(Y));
    put_pair<Y>(to, sum[4 * j], sum[4 * j + 1], scale0, scale1);
    put_pair<Y>(to + 8 * pitch, sum[4 * j + 2], sum[4 * j + 3], scale0, scale1);
  }
  __syncwarp();
  constexpr int chunks = columns / chunk;
  for (int i = lane; i < 16 * chunks; i += 32) {
    const int row = first_row + warp * 16 + i / chunks, column = first_column + i % chunks * chunk;
    if (row >= part.rows || column >= z.columns) continue;
    const access::Words<4> words = access::load_words<4>(own + i / chunks * pitch + i % chunks * 16);
    access::store_words<4>(y + static_cast<int64_t>(output_pixel(z, part, row)) * z.columns + column, words);
  }
}

template <simt::Product kind, int columns, bool deep>
__global__ void __launch_bounds__(threads, columns <= 128 && !deep ? 2 : 1)
    conv2d(const __grid_constant__ ConvProduct z, const __grid_constant__ Packing packing,
           const unsigned char* __restrict__ x, const unsigned char* __restrict__ weights,
           const float* __restrict__ scale, rtfq_dtype y_type, void* y) {
  using Sum = typename simt::ProductTypes<kind>::Sum;
  constexpr int element = simt::ProductTypes<kind>::bytes, per_step = step_bytes / element,
                stages = stages_of(columns, deep);
  constexpr int bytes = stage_bytes(columns), ahead = stages - 2, copies = rows * 8 / threads;
  static_assert(ahead >= 1);
  SIMT_DYNAMIC_SHARED(unsigned char, memory);
  SIMT_SHARED(uint64_t, full, [stages]);
  unsigned char* ring = memory + (1024 - simt::shared_address(memory) % 1024) % 1024;
  const int t = static_cast<int>(threadIdx.x);
  if (t == 0) {
    for (int i = 0; i < stages; ++i) simt::mbarrier_init(&full[i], 1);
    simt::mbarrier_init_fence();
  }

  // The tile: columns change fastest, so that blocks that run together share pixels.
  const int column_tiles = (z.columns + columns - 1) / columns;
  const int first_column = static_cast<int>(blockIdx.x) % column_tiles * columns;
  int first_row = static_cast<int>(blockIdx.x) / column_tiles * rows, own = 0;
  for (int tiled; first_row >= (tiled = (z.part[own].rows + rows - 1) / rows * rows); ++own)
    first_row -= tiled;
  const ConvPart& part = z.part[own];
  const int steps = packing.part[own].steps;

  // What this thread copies in every step: chunk t % 8 of four rows.
  ConvRow row[copies];
#pragma unroll
  for (int i = 0; i < copies; ++i) row[i] = conv_row(z, part, first_row + t / 8 + i * (threads / 8));
  ConvTap tap{0, 0, 0};
  if (steps > 0) tap.advance(z, part, t % 8 * (16 / element));
  const uint32_t to = simt::swizzled(static_cast<uint32_t>(t / 8), static_cast<uint32_t>(t % 8));
  const unsigned char* weight =
      weights + packing.part[own].weights + static_cast<int64_t>(first_column) * step_bytes;
  const int rows_left = packing.weight_rows - first_column;
  const auto weight_bytes = static_cast<uint32_t>((rows_left < columns ? rows_left : columns) * step_bytes);
  const auto load = [&](int step, int slot) {
    if (step < steps) {
      unsigned char* stage = ring + slot * bytes;
      const int offset = tap.input(z);
#pragma unroll
      for (int i = 0; i < copies; ++i) {
        const bool inside = tap.meets(row[i]);
        simt::copy_async<16>(stage + to + i * (threads / 8) * step_bytes,
                             inside ? x + static_cast<int64_t>(row[i].offset + offset) * element : x, inside);
      }
      if (t == 0) {
        simt::mbarrier_arrive_expect(&full[slot], weight_bytes);
        simt::copy_bulk(stage + rows * step_bytes,
                        weight + static_cast<int64_t>(step) * packing.weight_rows * step_bytes, weight_bytes,
                        &full[slot]);
      }
      tap.advance(z, part, per_step);
    }
    simt::copy_async_commit();
  };

  Sum sum[columns / 2] = {};
  __syncthreads();
  for (int i = 0; i < ahead; ++i) load(i, i);
  int slot = 0, fill = ahead;  // of this step, and of the step that is loaded
  uint32_t parity = 0;
  simt::wgmma_settle(sum);
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    simt::copy_async_wait<ahead - 1>();
    simt::fence_proxy_async();
    simt::mbarrier_wait(&full[slot], parity);
    __syncthreads();
    const uint32_t stage = simt::shared_address(ring + slot * bytes);
    const uint32_t a = stage + static_cast<uint32_t>(t / 128) * 64 * step_bytes,
                   b = stage + rows * step_bytes;
    simt::wgmma_fence();
#pragma unroll
    for (uint32_t inner = 0; inner < step_bytes; inner += 32)
      simt::wgmma<kind, columns>(sum, simt::matrix_descriptor(a + inner, 0, 1024),
                                 simt::matrix_descriptor(b + inner, 0, 1024));
    simt::wgmma_commit();
    load(step + ahead, fill);
    __syncwarp();
    simt::wgmma_wait<1>();
    if (++fill == stages) fill = 0;
    if (++slot == stages) {
      slot = 0;
      parity ^= 1;
    }
  }
  simt::wgmma_wait<0>();
  simt::wgmma_settle(sum);
  __syncthreads();  // results overwrite operands

  if constexpr (kind == simt::Product::bf16) {
    write_rows<bf16, columns>(z, part, first_row, first_column, sum, scale, ring, static_cast<bf16*>(y));
  } else {
    if (y_type == RTFQ_BF16)
      write_rows<bf16, columns>(z, part, first_row, first_column, sum, scale, ring, static_cast<bf16*>(y));
    else if (y_type == RTFQ_F32)
      write_rows<float, columns>(z, part, first_row, first_column, sum, scale, ring, static_cast<float*>(y));
    else
      write_rows<int, columns>(z, part, first_row, first_column, sum, scale, ring, static_cast<int*>(y));
  }
}

/// `depth` 1: deep, 0: not, -1: as the number of blocks and the length of their sums decide.
template <simt::Product kind, int columns>
void launch_tile(int depth, const ConvProduct& z, const void* x, const void* packed, const float* scale,
                 rtfq_dtype y_type, void* y, Stream stream) {
  int64_t tiles = 0;
  for (int i = 0; i < z.parts; ++i) tiles += (z.part[i].rows + rows - 1) / rows;
  tiles *= (z.columns + columns - 1) / columns;
  const Packing packing = packing_of(z, simt::ProductTypes<kind>::bytes);
  const auto launch_as = [&](auto kernel, std::size_t shared) {
    simt::launch(kernel, dim3(static_cast<unsigned>(tiles)), dim3(threads), shared, stream_of(stream), z,
                 packing, static_cast<const unsigned char*>(x), static_cast<const unsigned char*>(packed),
                 scale, y_type, y);
  };
  if constexpr (columns <= 128) {
    // A ring of three stages waits for a load at every step: two blocks of it pay only where steps are few.
    const bool one_wave = tiles <= multiprocessors, long_sum = columns > 64 && packing.part[0].steps >= 16;
    if (depth == 0 || (depth < 0 && !one_wave && !long_sum))
      return launch_as(conv2d<kind, columns, false>, shared_bytes(columns, false));
  }
  launch_as(conv2d<kind, columns, true>, shared_bytes(columns, true));
}

/// Columns of the tile. A wide one reads pixels less often; a narrow one leaves fewer multiprocessors idle
/// and fewer columns beyond the last.
int tile_columns(const ConvProduct&);

template <simt::Product kind>
void launch(const ConvProduct& z, int tile, const void* x, const void* packed, const float* scale,
            rtfq_dtype y_type, void* y, Stream stream) {
  if (!aligned(x, 16) || !aligned(packed, 16) || !aligned(y, 16))
    throw std::invalid_argument(
        "[conv2d] wgmma expects x, y and packed weights on multiples of 16 bytes: align them, or prefer the "
        "naive "
        "implementation");
  const int depth = tile == 0 ? -1 : tile > deep_tile ? 1 : 0;
  switch (tile ? tile % deep_tile : tile_columns(z)) {
    case 64:
      return launch_tile<kind, 64>(depth, z, x, packed, scale, y_type, y, stream);
    case 96:
      return launch_tile<kind, 96>(depth, z, x, packed, scale, y_type, y, stream);
    case 128:
      return launch_tile<kind, 128>(depth, z, x, packed, scale, y_type, y, stream);
    case 192:
      return launch_tile<kind, 192>(depth, z, x, packed, scale, y_type, y, stream);
    case 256:
      return launch_tile<kind, 256>(depth, z, x, packed, scale, y_type, y, stream);
    default:
      throw std::logic_error("[conv2d] wgmma has no tile of " + std::to_string(tile) + " columns");
  }
}

}  // namespace rtfq::kernels::RTFQ_GPU::wgmma
