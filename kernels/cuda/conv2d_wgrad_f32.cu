// The weight gradient in f32 without tensor cores: output channels by taps and their input channels, summed
// over the pixels of the batch by fused multiply-adds, in an order that depends on the shape alone.
//
// A block of 128 threads computes a tile of 64 output channels by 128 columns over a piece of the pixels, 8 a
// step, a thread 8 by 8 of it. Operands are staged as they lie in memory, a pixel a row, by copies of 4 bytes
// that stay in flight for two steps, so that any channel count will do. Sums of one piece go to the
// parent's slice at once; of several to the workspace, and a second launch adds them (conv2d_wgrad_sum.cu).
// Floor: x and g once, 4 bytes a weight, 8 more for each of several pieces, 2 n p q k r s c operations.
// Limits: filters of at most 8x8; operands of at most 2^30 elements. Shared memory: 18 KB. Not yet timed on a
// GPU.
#include "kernels/cuda/conv2d.h"
#include "kernels/cuda/conv2d_f32.h"
#include "kernels/cuda/conv2d_wgrad.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

constexpr int rows = 64, columns = 128;
constexpr int threads = F32Tile::threads, step = F32Tile::step, stages = F32Tile::stages;

__global__ void __launch_bounds__(threads, 3)
    partial_sums(const __grid_constant__ Wgrad w, const float* __restrict__ x, const float* __restrict__ g,
                 const WgradTo to) {
  SIMT_SHARED(float, left, [stages][step][rows]);
  SIMT_SHARED(float, right, [stages][step][columns]);
  const ConvProduct& z = w.z;
  const ConvPart& part = z.part[0];
  const int column_tiles = (w.columns + columns - 1) / columns;
  const int row_tile = static_cast<int>(blockIdx.x) / column_tiles;
  const int row0 = row_tile * rows;
  const int column0 = (static_cast<int>(blockIdx.x) - row_tile * column_tiles) * columns;
  const int piece = static_cast<int>(blockIdx.y), first = piece * w.steps_per_piece * step;
  const int all_steps = (w.pixels - first + step - 1) / step;
  const int steps = all_steps < w.steps_per_piece ? all_steps : w.steps_per_piece;
  const int thread = static_cast<int>(threadIdx.x);

  // Copies: of g channel thread % 64 of pixels thread / 64 + 2 i; of x column `thread` of all 8 pixels.
  const int channel = thread & 63, g_pixel = thread >> 6;
  const bool channel_in = row0 + channel < z.columns;
  const ConvTap tap = column_tap(w, column0 + thread);
  int at_pixel = first;
  Pixel pixel[step];
#pragma unroll
  for (int i = 0; i < step; ++i) pixel[i].start(w, first + i);
  const float* g_from = g + static_cast<int64_t>(first + g_pixel) * z.columns + row0 + channel;

  const auto copy_step = [&](int stage) {
#pragma unroll
    for (int i = 0; i < step / 2; ++i)
      simt::copy_async<4>(&left[stage][g_pixel + 2 * i][channel],
                          g_from + static_cast<int64_t>(2 * i) * z.columns,
                          channel_in && at_pixel + g_pixel + 2 * i < w.pixels);
    g_from += static_cast<int64_t>(step) * z.columns;
#pragma unroll
    for (int i = 0; i < step; ++i) {
      const int h = pixel[i].p * z.step + part.base_h, v = pixel[i].q * z.step + part.base_w;
      const bool meets = at_pixel + i < w.pixels && tap.r >= 0 &&
                         static_cast<unsigned>(h + tap.r) < static_cast<unsigned>(z.in_h) &&
                         static_cast<unsigned>(v + tap.s) < static_cast<unsigned>(z.in_w);
      simt::copy_async<4>(&right[stage][i][thread],
                          x + pixel[i].image * z.in_image + h * z.in_row + v * z.in_pixel + tap.input(z),
                          meets);
      pixel[i].advance(w);
    }
    at_pixel += step;
  };

  float sum[8][8] = {};
  f32_products<rows, columns>(left, right, steps, copy_step, sum);
  const int own_row = f32_own_row<columns>(), own_column = f32_own_column<columns>();

  const float scale = wgrad_scale(w, to);
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const int column = column0 + f32_place<columns>(own_column, j);
    if (column >= w.columns) continue;
    const WgradColumn own(w, to, piece, column);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int k = row0 + f32_place<rows>(own_row, i);
      if (k < z.columns) own.put(w, to, k, sum[i][j], scale);
    }
  }
}

/// Ordinary multiply-adds reach about half of 128 a clock.
constexpr WgradTile tile{rows, columns, step, 3, 4 * step*(rows + columns), 1.2e5};

Wgrad wgrad_of(const Conv2dShape& s) {
  return cut_pixels(forward_product(s, s.c), tile, false);
}

}  // namespace

const char* conv2d_f32_unsupported(const Conv2dWgrad&, const Conv2dShape& s) {
  if (s.x_type != RTFQ_F32 || s.y_type != RTFQ_F32) return "takes f32 operands";
  return product_unsupported(s, 16, 1, 8);
}

std::size_t conv2d_wgrad_f32_bytes(const Conv2dShape& s) {
  return wgrad_of(s).partial_bytes();
}

void conv2d_f32(const Conv2dShape& s, const Conv2dWgradArgs& a, Stream stream) {
  const Wgrad w = wgrad_of(s);
  const WgradTo to = wgrad_to(s, a, static_cast<float*>(a.workspace));
  simt::launch(partial_sums, dim3(static_cast<unsigned>(tile.tiles(w.z)), static_cast<unsigned>(w.pieces)),
               dim3(threads), 0, stream_of(stream), w, static_cast<const float*>(a.x),
               static_cast<const float*>(a.g), to);
  if (!w.direct) add_pieces(s, w, nullptr, to, stream);
}

}  // namespace rtfq::kernels::RTFQ_GPU
