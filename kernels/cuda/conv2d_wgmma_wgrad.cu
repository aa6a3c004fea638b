// The weight gradient by Hopper's warpgroup products: x in bf16 or codes (exact in bf16), g in bf16, sums in
// f32 in an order that depends on the shape alone.
//
// A product of output channels by taps and their input channels, summed over the pixels of the batch
// (conv2d_wgrad.h). A block of two warpgroups computes a tile of 128 x 256, 128 x 128 or 64 x 128 over a
// piece of the pixels, 64 a step; a warpgroup half of its rows, or of its columns where there are 64 rows.
// Both operands are staged as they lie in memory, a pixel a row, in panels of 64 channels, and multiplied as
// they are: their descriptors name the channels as the major index. All threads copy chunks of 16 bytes into
// a ring of stages; codes are staged as they are, and the thread that copied them makes bf16 of them. One
// group of products is in flight while the next operands are waited for, as in conv2d_wgmma.h. Sums of
// one piece go to the parent's slice at once; of several to the workspace, and a second launch adds them
// (conv2d_wgrad_sum.cu).
//
// Floor: x and g once, 4 bytes a weight, 8 more for each of several pieces, 2 n p q k r s c operations.
// Limits: compute capability 9.0; output channels that are multiples of 8, input channels that are (of 16
// with codes); filters of at most 8x8; operands of at most 2^30 elements. Shared memory: 97 to 201 KB a
// block, by tile. On an H200 (2026-11-27; batch 64, 3x3), with shallow rings and the same adding launch as
// conv2d_wgrad_mma.cu: 94 us for 480 channels at 7x7, 52 us for 256 at 14x14; not yet timed since.
#include <stdexcept>
#include <utility>

#include "kernels/bf16.h"
#include "kernels/cuda/capability.h"
#include "kernels/cuda/conv2d.h"
#include "kernels/cuda/conv2d_wgrad.h"
#include "kernels/cuda/values.h"
#include "kernels/simt/hopper.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

constexpr int step = 64, threads = 256;  // pixels; of two warpgroups
constexpr int deep_tile = 1'000'000;     // added to a tile's number: a deep ring
constexpr int panel = step * 128;        // bytes of 64 channels

template <class X, int rows_, int columns_, int stages_, int per_sm_>
struct Tile {
  static constexpr bool codes = sizeof(X) == 1;
  static constexpr int rows = rows_, columns = columns_, stages = stages_, per_sm = per_sm_;
  /// Of a warpgroup.
  static constexpr int own_columns = rows == 128 ? columns : columns / 2;
  static constexpr int right_at = rows / 64 * panel, raw_at = right_at + columns / 64 * panel;
  static constexpr int stage_bytes = raw_at + (codes ? step * columns : 0);
  static constexpr std::size_t shared_bytes = stages * stage_bytes + 1024;
};

/// 16 codes as bf16, 8 at each place.
template <class X>
__device__ __forceinline__ void widen(const unsigned char* raw, unsigned char* low, unsigned char* high) {
  const Floats<16> f = load<16>(reinterpret_cast<const X*>(raw));
  Floats<8> half;
#pragma unroll
  for (int j = 0; j < 8; ++j) half.v[j] = f.v[j];
  const auto first = packed<bf16>(half);
  simt::store_operand(low, uint4{first.bits.w[0], first.bits.w[1], first.bits.w[2], first.bits.w[3]});
#pragma unroll
  for (int j = 0; j < 8; ++j) half.v[j] = f.v[8 + j];
  const auto second = packed<bf16>(half);
  simt::store_operand(high, uint4{second.bits.w[0], second.bits.w[1], second.bits.w[2], second.bits.w[3]});
}

template <class X, class T>
__global__ void __launch_bounds__(threads, T::per_sm)
    products(const __grid_constant__ Wgrad w, const X* __restrict__ x, const bf16* __restrict__ g,
             const WgradTo to) {
  // Of both operands a thread copies rows t / 8 and t / 8 + 32; of the left one chunk t % 8 of every panel,
  // of the right one chunk t % 8 of every eight.
  constexpr int chunk = 16 / static_cast<int>(sizeof(X)), copies = 2, panels = T::rows / 64;
  constexpr int right_chunks = T::columns / chunk / 8, ahead = T::stages - 2;
  static_assert(ahead >= 1 && T::columns % (8 * chunk) == 0);
  SIMT_DYNAMIC_SHARED(unsigned char, memory);
  unsigned char* ring = memory + (1024 - simt::shared_address(memory) % 1024) % 1024;

  const ConvProduct& z = w.z;
  const ConvPart& part = z.part[0];
  const int column_tiles = (w.columns + T::columns - 1) / T::columns;
  const int row0 = static_cast<int>(blockIdx.x) / column_tiles * T::rows;
  const int column0 = static_cast<int>(blockIdx.x) % column_tiles * T::columns;
  const int piece = static_cast<int>(blockIdx.y), first = piece * w.steps_per_piece * step;
  const int all_steps = (w.pixels - first + step - 1) / step;
  const int steps = all_steps < w.steps_per_piece ? all_steps : w.steps_per_piece;
  const int t = static_cast<int>(threadIdx.x), own_row = t / 8, own_chunk = t % 8;

  ConvTap tap[right_chunks];
#pragma unroll
  for (int j = 0; j < right_chunks; ++j) tap[j] = column_tap(w, column0 + (own_chunk + 8 * j) * chunk);
  Pixel pixel[copies];
#pragma unroll
  for (int i = 0; i < copies; ++i) pixel[i].start(w, first + own_row + 32 * i);
  int at = first + own_row;  // the first of the two pixels
  const auto copy_step = [&](unsigned char* stage) {
#pragma unroll
    for (int i = 0; i < copies; ++i) {
      const auto row = static_cast<uint32_t>(own_row + 32 * i);
      const uint32_t place = simt::swizzled(row, static_cast<uint32_t>(own_chunk));
      const bool there = at + 32 * i < w.pixels;
#pragma unroll
      for (int j = 0; j < panels; ++j) {
        const int k = row0 + j * 64 + own_chunk * 8;
        const bool inside = there && k < z.columns;
        simt::copy_async<16>(stage + j * panel + place,
                             inside ? g + static_cast<int64_t>(at + 32 * i) * z.columns + k : g, inside);
      }
      const int h = pixel[i].p * z.step + part.base_h, v = pixel[i].q * z.step + part.base_w;
      const int from = pixel[i].image * z.in_image + h * z.in_row + v * z.in_pixel;
#pragma unroll
      for (int j = 0; j < right_chunks; ++j) {
        const bool meets = there && tap[j].r >= 0 &&
                           static_cast<unsigned>(h + tap[j].r) < static_cast<unsigned>(z.in_h) &&
                           static_cast<unsigned>(v + tap[j].s) < static_cast<unsigned>(z.in_w);
        unsigned char* copy_to =
            T::codes ? stage + T::raw_at + static_cast<int>(row) * T::columns + (own_chunk + 8 * j) * 16
                     : stage + T::right_at + j * panel + place;
        simt::copy_async<16>(copy_to, meets ? x + from + tap[j].input(z) : x, meets);
      }
      pixel[i].advance(w);
    }
    at += step;
  };

  float sum[T::own_columns / 2] = {};
#pragma unroll
  for (int i = 0; i < ahead; ++i) {
    if (i < steps) copy_step(ring + i * T::stage_bytes);
    simt::copy_async_commit();
  }
  const auto group = static_cast<uint32_t>(t / 128);
  const uint32_t left = T::rows == 128 ? group * panel : 0;
  const uint32_t right = T::right_at + (T::rows == 128 ? 0 : group * (T::own_columns / 64) * panel);
  int slot = 0, fill = ahead;
  simt::wgmma_settle(sum);
#pragma unroll 1
  for (int i = 0; i < steps; ++i) {
    unsigned char* stage = ring + slot * T::stage_bytes;
    simt::copy_async_wait<ahead - 1>();
    if constexpr (T::codes) {
#pragma unroll
      for (int c = 0; c < copies; ++c)
#pragma unroll
        for (int j = 0; j < right_chunks; ++j) {
          const int row = own_row + 32 * c, own = own_chunk + 8 * j;
          unsigned char* tile = stage + T::right_at + own / 4 * panel;
          const auto place = static_cast<uint32_t>(own % 4 * 2);
          widen<X>(stage + T::raw_at + row * T::columns + own * 16,
                   tile + simt::swizzled(static_cast<uint32_t>(row), place),
                   tile + simt::swizzled(static_cast<uint32_t>(row), place + 1));
        }
    }
    simt::fence_proxy_async();
    __syncthreads();  // this step is there for all, and all have products up to the last but one behind them
    const uint32_t address = simt::shared_address(stage);
    simt::wgmma_fence();
#pragma unroll
    for (uint32_t inner = 0; inner < panel; inner += 16 * 128)
      simt::wgmma<simt::Product::bf16, T::own_columns, simt::Major::mn, simt::Major::mn>(
          sum, simt::matrix_descriptor(address + left + inner, panel, 1024),
          simt::matrix_descriptor(address + right + inner, panel, 1024));
    simt::wgmma_commit();
    if (i + ahead < steps) copy_step(ring + fill * T::stage_bytes);
    simt::copy_async_commit();
    __syncwarp();
    simt::wgmma_wait<1>();
    if (++slot == T::stages) slot = 0;
    if (++fill == T::stages) fill = 0;
  }
  simt::wgmma_wait<0>();
  simt::wgmma_settle(sum);

  const int lane = t % 32, k0 = row0 + static_cast<int>(left / panel) * 64 + t / 32 % 4 * 16 + lane / 4;
  const int c0 = column0 + (T::rows == 128 ? 0 : static_cast<int>(group) * T::own_columns) + lane % 4 * 2;
  const float scale = wgrad_scale(w, to);
#pragma unroll
  for (int j = 0; j < T::own_columns / 8; ++j) {
    const int column = c0 + 8 * j;
    if (column >= w.columns) continue;
    const WgradColumn own(w, to, piece, column);
#pragma unroll
    for (int half = 0; half < 2; ++half)
      if (k0 + 8 * half < z.columns)
        own.put(w, to, k0 + 8 * half, sum[4 * j + 2 * half], sum[4 * j + 2 * half + 1], scale);
  }
}

WgradTile tile_of(int rows, int columns, rtfq_dtype x) {
  const int element = static_cast<int>(element_bytes(x));
  const int per_sm = columns == 256 || (rows == 128 && element == 1) ? 1 : 2;
  return {rows, columns, step, per_sm, step * (2 * rows + element * columns), 2.4e6};
}

/// `tile` (rows * 1000 + columns), or, where that is 0, the one that with its cut is estimated to take least.
WgradTile choose_tile(const ConvProduct& z, int tile, rtfq_dtype x) {
  WgradTile best{};
  double least = 1e30;
  for (const auto& [rows, columns] : {std::pair{128, 256}, std::pair{128, 128}, std::pair{64, 128}}) {
    const WgradTile candidate = tile_of(rows, columns, x);
    if (tile == rows * 1000 + columns) return candidate;
    const double cost = best_cut(z, candidate, false).cost;
    if (cost < least) {
      least = cost;
      best = candidate;
    }
  }
  return best;
}

template <class X, class T>
void launch_tile(const Wgrad& w, const WgradTile& tile, const Conv2dWgradArgs& a, const WgradTo& to,
                 Stream stream) {
  simt::launch(products<X, T>, dim3(static_cast<unsigned>(tile.tiles(w.z)), static_cast<unsigned>(w.pieces)),
               dim3(threads), T::shared_bytes, stream_of(stream), w, static_cast<const X*>(a.x),
               static_cast<const bf16*>(a.g), to);
}

/// `depth` 1: deep, 0: not, -1: as the number of blocks decides.
template <class X>
void launch(int depth, const Wgrad& w, const WgradTile& tile, const Conv2dWgradArgs& a, const WgradTo& to,
            Stream stream) {
  constexpr bool codes = sizeof(X) == 1;
  // Deep rings, where a block has a multiprocessor's shared memory alone.
  const bool deep = depth < 0 ? tile.tiles(w.z) * w.pieces <= multiprocessors : depth > 0;
  if (tile.columns == 256) return launch_tile<X, Tile<X, 128, 256, codes ? 3 : 4, 1>>(w, tile, a, to, stream);
  if (tile.rows == 128) {
    if constexpr (!codes)
      if (!deep) return launch_tile<X, Tile<X, 128, 128, 3, 2>>(w, tile, a, to, stream);
    return launch_tile<X, Tile<X, 128, 128, codes ? 5 : 6, 1>>(w, tile, a, to, stream);
  }
  if (deep) return launch_tile<X, Tile<X, 64, 128, codes ? 6 : 8, 1>>(w, tile, a, to, stream);
  launch_tile<X, Tile<X, 64, 128, codes ? 3 : 4, 2>>(w, tile, a, to, stream);
}

}  // namespace

const char* conv2d_wgmma_unsupported(const Conv2dWgrad& op, const Conv2dShape& s) {
  if (const char* reason = unsupported_types(op, s)) return reason;
  if (s.x_type == RTFQ_F32 || s.y_type != RTFQ_BF16) return "takes bf16 or codes with gradients in bf16";
  if (!has_wgmma()) return "takes a GPU of compute capability 9.0";
  return product_unsupported(s, s.c, element_bytes(s.x_type), s.k);
}

std::size_t conv2d_wgmma_workspace(int tile, const Conv2dShape& s) {
  const ConvProduct z = forward_product(s, s.c);
  return cut_pixels(z, choose_tile(z, tile % deep_tile, s.x_type), false).partial_bytes();
}

void conv2d_wgmma(int tile, const Conv2dShape& s, const Conv2dWgradArgs& a, Stream stream) {
  if (!aligned(a.x, 16) || !aligned(a.g, 16) || !aligned(a.workspace, 16))
    throw std::invalid_argument(
        "[conv2d] wgmma expects x, g and the workspace on multiples of 16 bytes: align them, or prefer the "
        "naive "
        "implementation");
  const ConvProduct z = forward_product(s, s.c);
  const WgradTile choice = choose_tile(z, tile % deep_tile, s.x_type);
  const int depth = tile == 0 ? -1 : tile > deep_tile ? 1 : 0;
  const Wgrad w = cut_pixels(z, choice, false);
  const WgradTo to = wgrad_to(s, a, static_cast<float*>(a.workspace));
  if (s.x_type == RTFQ_BF16)
    launch<bf16>(depth, w, choice, a, to, stream);
  else if (s.x_type == RTFQ_U8)
    launch<uint8_t>(depth, w, choice, a, to, stream);
  else
    launch<int8_t>(depth, w, choice, a, to, stream);
  if (!w.direct) add_pieces(s, w, nullptr, to, stream);
}

}  // namespace rtfq::kernels::RTFQ_GPU
