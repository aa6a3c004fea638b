#pragma once
// The product of conv2d_geometry.h on tensor cores, for one type of operands: forward, data gradient and
// folded inputs are all this kernel.
//
// A block of 4 warps computes a tile of rows (output pixels) by columns (output channels), a warp a quarter
// of it. Both operands are staged in shared memory 64 bytes of the sum at a time, by copies that stay in
// flight for `stages` - 1 steps; a thread copies chunks at one place of the sum for several rows, so that it
// walks taps and channels once a step for all of them. Weights of 4 bits pass through registers, where they
// become bytes: read a step before they are staged. Chunks of 16 bytes are permuted within rows of 64
// bytes, so that neither copies nor ldmatrix meet bank conflicts. Columns are dealt to the fragments such
// that a thread ends up with 8 neighbouring output channels of a row, which it stores at once.

#include "kernels/bf16.h"
#include "kernels/cuda/conv2d_geometry.h"
#include "kernels/cuda/int4.h"
#include "kernels/cuda/mma.h"
#include "kernels/cuda/values.h"

namespace rtfq::kernels::RTFQ_GPU {

/// Operands that need nothing done to them between shared memory and the product.
struct AsTheyAre {
  static __device__ __forceinline__ void ready(uint32_t (&)[4]) {}
};
struct Tf32Product {
  using X = float;
  using W = float;
  using Sum = float;
  static constexpr bool codes = false, int4 = false;
  static __device__ __forceinline__ void ready(uint32_t (&fragment)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) fragment[i] = tf32(fragment[i]);
  }
  static __device__ __forceinline__ void multiply(Sum (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                                  uint32_t b1) {
    mma_tf32(d, a, b0, b1);
  }
};
struct Bf16Product : AsTheyAre {
  using X = bf16;
  using W = bf16;
  using Sum = float;
  static constexpr bool codes = false, int4 = false;
  static __device__ __forceinline__ void multiply(Sum (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                                  uint32_t b1) {
    mma_bf16(d, a, b0, b1);
  }
};
struct U8Product : AsTheyAre {
  using X = uint8_t;
  using W = int8_t;
  using Sum = int;
  static constexpr bool codes = true, int4 = false;
  static __device__ __forceinline__ void multiply(Sum (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                                  uint32_t b1) {
    mma_u8_s8(d, a, b0, b1);
  }
};
struct S8Product : AsTheyAre {
  using X = int8_t;
  using W = int8_t;
  using Sum = int;
  static constexpr bool codes = true, int4 = false;
  static __device__ __forceinline__ void multiply(Sum (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                                  uint32_t b1) {
    mma_s8_s8(d, a, b0, b1);
  }
};

/// Of weights that lie two in a byte (kernels/int4.h).
template <class Bytes>
struct Int4Product : Bytes {
  using W = uint8_t;
  static constexpr bool int4 = true;
};

template <int rows_, int columns_, int per_sm_>
struct MmaTile {
  static constexpr int rows = rows_, columns = columns_, per_sm = per_sm_, threads = 128, stages = 6;
  static constexpr int warp_rows = rows / 2, warp_columns = columns / 2;
  static constexpr int row_bytes = 64, stage_bytes = (rows + columns) * row_bytes;
  static constexpr std::size_t shared_bytes = std::size_t{stages} * stage_bytes;
  static_assert(warp_rows % 16 == 0 && warp_columns % 32 == 0 && rows % 32 == 0);
};

/// Byte of chunk `chunk` of a row in a staged operand. Eight rows that ldmatrix reads together lie in
/// different banks: of the left operand neighbours, of the right one rows 0, 1, 8, 9, 16, 17, 24, 25.
__device__ __forceinline__ int left_place(int row, int chunk) {
  return row * 64 + ((chunk ^ (row >> 1 & 3)) << 4);
}
__device__ __forceinline__ int right_place(int row, int chunk) {
  return row * 64 + ((chunk ^ (row >> 3 & 3)) << 4);
}

/// What becomes of sums, 8 neighbouring output channels of a pixel at a time: y = scale * f32(sum), or the
/// sum. A thread makes a Thread of it, names the channels, and then hands over pixels one by one. Where there
/// is a member `whole_tiles`, all threads of the block hand over their sums together instead (`store_tile`).
template <class Op>
struct StoreSums {
  const float* scale;
  rtfq_dtype type;
  void* y;

  struct Thread {
    const StoreSums& of;
    Floats<8> scale;

    __device__ __forceinline__ explicit Thread(const StoreSums& all) : of(all), scale{} {}
    __device__ __forceinline__ void channels(int column) {
      if (Op::codes && of.type != RTFQ_S32) scale = load<8>(of.scale + column);
    }
    /// `at`: the first one's element.
    __device__ __forceinline__ void store(int64_t at, const typename Op::Sum (&sum)[8]) const {
      if constexpr (!Op::codes) {
        Floats<8> f;
#pragma unroll
        for (int j = 0; j < 8; ++j) f.v[j] = sum[j];
        RTFQ_GPU::store<8>(static_cast<typename Op::X*>(of.y) + at, f);
      } else if (of.type == RTFQ_S32) {
        int* to = static_cast<int*>(of.y) + at;
        *reinterpret_cast<int4*>(to) = make_int4(sum[0], sum[1], sum[2], sum[3]);
        *reinterpret_cast<int4*>(to + 4) = make_int4(sum[4], sum[5], sum[6], sum[7]);
      } else {
        Floats<8> f;
#pragma unroll
        for (int j = 0; j < 8; ++j) f.v[j] = scale.v[j] * static_cast<float>(sum[j]);
        if (of.type == RTFQ_BF16)
          RTFQ_GPU::store<8>(static_cast<bf16*>(of.y) + at, f);
        else
          RTFQ_GPU::store<8>(static_cast<float*>(of.y) + at, f);
      }
    }
  };
};

template <class Op, class Tile, class Finish>
__global__ void __launch_bounds__(Tile::threads, Tile::per_sm)
    conv2d_mma_kernel(const __grid_constant__ ConvProduct z, const typename Op::X* __restrict__ x,
                      const typename Op::W* __restrict__ weights, const __grid_constant__ Finish finish) {
  using Sum = typename Op::Sum;
  constexpr int chunk = 16 / static_cast<int>(sizeof(typename Op::X)), step = 4 * chunk;
  constexpr int own_rows = Tile::rows / 32, own_columns = Tile::columns / 32;
  constexpr int m_tiles = Tile::warp_rows / 16, n_groups = Tile::warp_columns / 32;
  SIMT_DYNAMIC_SHARED(unsigned char, staged);

  const ConvPart& part = z.part[blockIdx.y];
  const int column_tiles = (z.columns + Tile::columns - 1) / Tile::columns;
  const int row_tile = static_cast<int>(blockIdx.x) / column_tiles;
  const int row0 = row_tile * Tile::rows;
  const int column0 = (static_cast<int>(blockIdx.x) - row_tile * column_tiles) * Tile::columns;
  if (row0 >= part.rows) return;

  const int thread = static_cast<int>(threadIdx.x), lane = thread & 31, warp = thread >> 5;
  const int taps = part.taps_h * part.taps_w, depth = taps * z.channels;
  const int steps = (depth + step - 1) / step;

  // What this thread copies: chunk `thread % 4` of rows and columns thread / 4 + 32 i.
  const int line = thread >> 2;
  ConvRow row[own_rows];
#pragma unroll
  for (int i = 0; i < own_rows; ++i) row[i] = conv_row(z, part, row0 + line + 32 * i);
  int filter[own_columns];
#pragma unroll
  for (int i = 0; i < own_columns; ++i)
    filter[i] = part.weights + (column0 + line + 32 * i) * taps * z.tap_pitch;
  const int columns_left = z.columns - column0 - line;
  // Rows 32 apart are permuted alike.
  const int left_to = left_place(line, thread & 3),
            right_to = Tile::rows * 64 + right_place(line, thread & 3);
  ConvTap tap{0, 0, 0};
  tap.advance(z, part, (thread & 3) * chunk);

  // Of weights of 4 bits: the next step's, where the tap stands.
  access::Words<2> nibbles[Op::int4 ? own_columns : 1] = {};
  [[maybe_unused]] const auto fetch_nibbles = [&] {
    const int at = tap.weight(z, part);
    const bool inside = tap.r < part.taps_h;
#pragma unroll
    for (int i = 0; i < own_columns; ++i) {
      const bool there = inside && 32 * i < columns_left;
      nibbles[i] = there ? access::load_words<2>(weights + (filter[i] + at) / 2) : access::Words<2>{};
    }
  };
  if constexpr (Op::int4) fetch_nibbles();

  const auto copy_step = [&](int stage) {
    unsigned char* to = staged + stage * Tile::stage_bytes;
    const typename Op::X* from = x + tap.input(z);
#pragma unroll
    for (int i = 0; i < own_rows; ++i)
      simt::copy_async<16>(to + left_to + i * 32 * 64, from + row[i].offset, tap.meets(row[i]));
    if constexpr (Op::int4) {
#pragma unroll
      for (int i = 0; i < own_columns; ++i)
        access::store_words<4>(to + right_to + i * 32 * 64, int4_bytes_of(nibbles[i]));
    } else {
      const typename Op::W* filters = weights + tap.weight(z, part);
      const bool inside = tap.r < part.taps_h;
#pragma unroll
      for (int i = 0; i < own_columns; ++i)
        simt::copy_async<16>(to + right_to + i * 32 * 64, filters + filter[i],
                             inside && 32 * i < columns_left);
    }
    tap.advance(z, part, step);
    if constexpr (Op::int4) fetch_nibbles();
  };

  Sum sum[m_tiles][4 * n_groups][4] = {};
#pragma unroll
  for (int i = 0; i < Tile::stages - 1; ++i) {
    if (i < steps) copy_step(i);
    simt::copy_async_commit();
  }

  // Lane's rows for ldmatrix: of the left operand row lane % 16, chunk lane / 16; of the right one, whose
  // fragment column i of tile j is column 8 (i / 2) + 2 j + i % 2 of a group of 32, tiles j and j + 1, both
  // chunks.
  const int warp_row = (warp >> 1) * Tile::warp_rows, warp_column = (warp & 1) * Tile::warp_columns;
  const int left_row = warp_row + (lane & 15), left_chunk = (lane >> 4) ^ (left_row >> 1 & 3);
  const int right_i = lane & 7;
  const int right_row = warp_column + 8 * (right_i >> 1) + 2 * (lane >> 4) + (right_i & 1);
  const int right_chunk = (lane >> 3 & 1) ^ (right_row >> 3 & 3);

  int stage = 0, ahead = Tile::stages - 1;
  for (int at = 0; at < steps; ++at) {
    simt::copy_async_wait<Tile::stages - 2>();
    __syncthreads();  // this step is there for all, and the stage that is copied to next was used by all
    if (at + Tile::stages - 1 < steps) copy_step(ahead);
    simt::copy_async_commit();
    const unsigned char* left = staged + stage * Tile::stage_bytes + left_row * 64;
    const unsigned char* right = staged + stage * Tile::stage_bytes + (Tile::rows + right_row) * 64;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      uint32_t a[m_tiles][4];
#pragma unroll
      for (int i = 0; i < m_tiles; ++i) {
        ldmatrix(a[i], left + i * 16 * 64 + ((left_chunk ^ (half << 1)) << 4));
        Op::ready(a[i]);
      }
#pragma unroll
      for (int j = 0; j < 2 * n_groups; ++j) {
        uint32_t b[4];
        ldmatrix(b, right + (j >> 1) * 32 * 64 + (j & 1) * 4 * 64 + ((right_chunk ^ (half << 1)) << 4));
        Op::ready(b);
#pragma unroll
        for (int i = 0; i < m_tiles; ++i) {
          Op::multiply(sum[i][2 * j], a[i], b[0], b[1]);
          Op::multiply(sum[i][2 * j + 1], a[i], b[2], b[3]);
        }
      }
    }
    stage = stage + 1 == Tile::stages ? 0 : stage + 1;
    ahead = ahead + 1 == Tile::stages ? 0 : ahead + 1;
  }

  typename Finish::Thread own_sums(finish);
  if constexpr (requires { Finish::whole_tiles; }) {
    own_sums.template store_tile<Tile>(z, row0, column0, warp_row, warp_column, sum);
  } else {
#pragma unroll
    for (int group = 0; group < n_groups; ++group) {
      const int column = column0 + warp_column + 32 * group + 8 * (lane & 3);
      if (column >= z.columns) continue;
      own_sums.channels(column);
#pragma unroll
      for (int i = 0; i < 2 * m_tiles; ++i) {
        const int at = row0 + warp_row + 8 * i + (lane >> 2);
        if (at >= part.rows) continue;
        Sum own[8];
#pragma unroll
        for (int j = 0; j < 8; ++j) own[j] = sum[i >> 1][4 * group + (j >> 1)][2 * (i & 1) + (j & 1)];
        own_sums.store(static_cast<int64_t>(output_pixel(z, part, at)) * z.columns + column, own);
      }
    }
  }
}

template <class Op, class Tile, class Finish>
void launch_conv2d_mma(const ConvProduct& z, const void* x, const void* weights, const Finish& finish,
                       Stream stream) {
  int rows = 0;
  for (int i = 0; i < z.parts; ++i) rows = z.part[i].rows > rows ? z.part[i].rows : rows;
  const unsigned tiles = static_cast<unsigned>((rows + Tile::rows - 1) / Tile::rows) *
                         static_cast<unsigned>((z.columns + Tile::columns - 1) / Tile::columns);
  simt::launch(conv2d_mma_kernel<Op, Tile, Finish>, dim3(tiles, static_cast<unsigned>(z.parts)),
               dim3(Tile::threads), Tile::shared_bytes, stream_of(stream), z,
               static_cast<const typename Op::X*>(x), static_cast<const typename Op::W*>(weights), finish);
}

/// The tile that keeps the multiprocessors busiest.
inline ConvTile cheapest_tile(const ConvProduct& z) {
  // Speeds are guesses until they are measured.
  const double large = tile_cost(z, 128, 128, 1.0), wide = tile_cost(z, 128, 64, 0.9),
               small = tile_cost(z, 64, 64, 0.75);
  return large <= wide && large <= small ? ConvTile::large : wide <= small ? ConvTile::wide : ConvTile::small;
}

/// The caller has seen to it that `finish` finds its operands where it may.
template <class Op, class Finish>
void conv2d_mma(ConvTile tile, const ConvProduct& z, const void* x, const void* weights, const Finish& finish,
                Stream stream) {
  require_aligned_operands({x, weights});
  if (tile == ConvTile::by_cost) tile = cheapest_tile(z);
  if (tile == ConvTile::large)
    launch_conv2d_mma<Op, MmaTile<128, 128, 2>>(z, x, weights, finish, stream);
  else if (tile == ConvTile::wide)
    launch_conv2d_mma<Op, MmaTile<128, 64, 3>>(z, x, weights, finish, stream);
  else
    launch_conv2d_mma<Op, MmaTile<64, 64, 4>>(z, x, weights, finish, stream);
}

template <class Op>
void conv2d_mma(ConvTile tile, const ConvProduct& z, const void* x, const void* weights, const float* scale,
                rtfq_dtype y_type, void* y, Stream stream) {
  require_aligned_operands({y, scale});
  conv2d_mma<Op>(tile, z, x, weights, StoreSums<Op>{scale, y_type, y}, stream);
}

}  // namespace rtfq::kernels::RTFQ_GPU
