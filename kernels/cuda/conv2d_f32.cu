// Convolution in f32 without tensor cores, forward and data gradient: the product of conv2d_geometry.h by
// ordinary fused multiply-adds, each sum in one chain over taps and channels (the plain kernel's order, and
// so its bits).
//
// A block of 128 threads computes a tile of 128 output pixels by 64 output channels, a thread 8 by 8 of it.
// Both operands are staged 8 terms of the sum at a time by copies of 4 bytes that stay in flight for two
// steps, so that any channel count will do; weights are read in place, in the parent's strides. Floor: 4
// bytes an element of each operand, 2 n p q k r s c operations. Limits: filters of at most 8x8; data
// gradients of stride 1 and 2; operands of at most 2^30 elements. Shared memory: 19 KB. Not yet timed on a
// GPU.
#include "kernels/cuda/conv2d.h"
#include "kernels/cuda/conv2d_f32.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

constexpr int rows = 128, columns = 64;
constexpr int threads = F32Tile::threads, step = F32Tile::step, stages = F32Tile::stages;
// A row of a stage is a term; rows 4 apart in banks, so that copies to 8 terms of 4 neighbours do not
// collide.
constexpr int left_pitch = rows + 4, right_pitch = columns + 4;

/// Where a filter's elements lie: taps of a part are every `stride`-th of the filter, in turned order.
struct Filters {
  int column, channel, tap;  // elements from one to the next
  int s, stride, pad;
};

/// Element of a tap; `dgrad` turns it back.
template <bool dgrad>
__device__ __forceinline__ int filter_tap(const Filters& f, const ConvPart& part, const ConvTap& tap) {
  if constexpr (!dgrad) return (tap.r * f.s + tap.s) * f.tap + tap.channel;
  const int r = (part.out_h + f.pad) % f.stride + f.stride * (part.taps_h - 1 - tap.r);
  const int s = (part.out_w + f.pad) % f.stride + f.stride * (part.taps_w - 1 - tap.s);
  return (r * f.s + s) * f.tap + tap.channel * f.channel;
}

template <bool dgrad>
__global__ void __launch_bounds__(threads, 3)
    product(const __grid_constant__ ConvProduct z, const __grid_constant__ Filters f,
            const float* __restrict__ x, const float* __restrict__ weights, float* __restrict__ y) {
  SIMT_SHARED(float, left, [stages][step][left_pitch]);
  SIMT_SHARED(float, right, [stages][step][right_pitch]);
  const ConvPart& part = z.part[blockIdx.y];
  const int column_tiles = (z.columns + columns - 1) / columns;
  const int row_tile = static_cast<int>(blockIdx.x) / column_tiles;
  const int row0 = row_tile * rows;
  const int column0 = (static_cast<int>(blockIdx.x) - row_tile * column_tiles) * columns;
  if (row0 >= part.rows) return;
  const int thread = static_cast<int>(threadIdx.x);
  const int depth = part.taps_h * part.taps_w * z.channels, steps = (depth + step - 1) / step;

  // Copies: term thread % 8 of rows thread / 8 + 16 i; of the right operand that of columns likewise, or,
  // where columns are what lies side by side, term thread / 16 of columns thread % 16 + 16 i.
  const int left_term = thread & 7, left_line = thread >> 3;
  const int right_term = dgrad ? thread >> 4 : left_term, right_line = dgrad ? thread & 15 : left_line;
  ConvRow row[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) row[i] = conv_row(z, part, row0 + left_line + 16 * i);
  ConvTap left_tap{0, 0, 0}, right_tap{0, 0, 0};
  left_tap.advance(z, part, left_term);
  right_tap.advance(z, part, right_term);
  const int filter = (column0 + right_line) * f.column, columns_left = z.columns - column0 - right_line;

  const auto copy_step = [&](int stage) {
    const float* from = x + left_tap.input(z);
#pragma unroll
    for (int i = 0; i < 8; ++i)
      simt::copy_async<4>(&left[stage][left_term][left_line + 16 * i], from + row[i].offset,
                          left_tap.meets(row[i]));
    left_tap.advance(z, part, step);
    const bool inside = right_tap.r < part.taps_h;
    const float* filters = weights + filter + (inside ? filter_tap<dgrad>(f, part, right_tap) : 0);
#pragma unroll
    for (int i = 0; i < 4; ++i)
      simt::copy_async<4>(&right[stage][right_term][right_line + 16 * i], filters + 16 * i * f.column,
                          inside && 16 * i < columns_left);
    right_tap.advance(z, part, step);
  };

  float sum[8][8] = {};
  f32_products<rows, columns>(left, right, steps, copy_step, sum);
  const int own_row = f32_own_row<columns>(), own_column = f32_own_column<columns>();

  const bool fours = z.columns % 4 == 0;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int at = row0 + f32_place<rows>(own_row, i);
    if (at >= part.rows) continue;
    float* to = y + static_cast<int64_t>(output_pixel(z, part, at)) * z.columns;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int column = column0 + f32_place<columns>(own_column, 4 * half);
      if (fours) {
        if (column < z.columns)
          store<4>(to + column, Floats<4>{{sum[i][4 * half], sum[i][4 * half + 1], sum[i][4 * half + 2],
                                           sum[i][4 * half + 3]}});
      } else {
#pragma unroll
        for (int j = 0; j < 4; ++j)
          if (column + j < z.columns) to[column + j] = sum[i][4 * half + j];
      }
    }
  }
}

template <bool dgrad>
void run(const ConvProduct& z, const Filters& f, const void* x, const void* weights, void* y, Stream stream) {
  if (!aligned(y, 16))
    throw std::invalid_argument(
        "[conv2d] the f32 kernels expect results at multiples of 16 bytes: take them from runtime::allocate, "
        "or "
        "choose \"naive\"");
  int most = 0;
  for (int i = 0; i < z.parts; ++i) most = z.part[i].rows > most ? z.part[i].rows : most;
  const unsigned tiles = static_cast<unsigned>((most + rows - 1) / rows) *
                         static_cast<unsigned>((z.columns + columns - 1) / columns);
  simt::launch(product<dgrad>, dim3(tiles, static_cast<unsigned>(z.parts)), dim3(threads), 0,
               stream_of(stream), z, f, static_cast<const float*>(x), static_cast<const float*>(weights),
               static_cast<float*>(y));
}

int narrow(int64_t x) {
  return static_cast<int>(x);
}

}  // namespace

const char* conv2d_f32_unsupported(const Conv2dForward&, const Conv2dShape& s) {
  if (s.x_type != RTFQ_F32 || s.y_type != RTFQ_F32) return "takes f32 activations";
  return product_unsupported(s, 16, 1, 8);
}
const char* conv2d_f32_unsupported(const Conv2dDgrad&, const Conv2dShape& s) {
  if (s.x_type != RTFQ_F32 || s.y_type != RTFQ_F32) return "takes f32 gradients";
  if (s.stride > 2) return "takes strides of 1 and 2";
  return product_unsupported(s, 16, 1, 8);
}

void conv2d_f32(const Conv2dShape& s, const Conv2dForwardArgs& a, Stream stream) {
  const Filters f{
      narrow(s.r * s.s * s.c_parent), 1, narrow(s.c_parent), narrow(s.s), narrow(s.stride), narrow(s.pad)};
  run<false>(forward_product(s, s.c_parent), f, a.x, a.packed, a.y, stream);
}
void conv2d_f32(const Conv2dShape& s, const Conv2dDgradArgs& a, Stream stream) {
  const Filters f{
      1, narrow(s.r * s.s * s.c_parent), narrow(s.c_parent), narrow(s.s), narrow(s.stride), narrow(s.pad)};
  run<true>(dgrad_product(s), f, a.g, a.packed, a.dx, stream);
}

}  // namespace rtfq::kernels::RTFQ_GPU
