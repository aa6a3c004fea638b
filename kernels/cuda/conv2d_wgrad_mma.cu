// The weight gradient on tensor cores, from sm_80 on: x in bf16 or codes (exact in bf16), g in bf16, sums in
// f32 in an order that depends on the shape alone.
//
// A product of output channels by taps and their input channels, summed over the pixels of the batch. A block
// of 4 warps computes a tile of 128 x 128, 128 x 64 or 64 x 64 over a piece of the pixels, 32 a step, a warp
// a quarter of it. Both operands are staged as they lie in memory, a pixel a row, by copies that stay in
// flight for 3 steps, and are transposed on their way to registers (ldmatrix.trans); codes are staged as they
// are and the thread that copied them makes bf16 of them. Chunks of 16 bytes are permuted within 128 bytes,
// so that reads meet no bank conflicts. Sums of one piece go to the parent's slice at once; of several to the
// workspace, and a second launch adds the pieces (conv2d_wgrad_sum.cu). Floor: x and g once, 4 bytes a
// weight, 8 more for each of several pieces, 2 n p q k r s c operations. Limits: output channels that are
// multiples of 8; input channels that are (of 16 with codes), or at most 4, whose image is folded into bf16
// first; filters of at most 8x8; operands of at most 2^30 elements. Shared memory: 96, 72 or 48 KB, less with
// codes. On an H200 (2026-11-27; batch 64, 3x3), with 4 stages and an adding launch that took longer than the
// products: 112 us for 480 channels at 7x7, 62 us for 256 at 14x14; not yet timed since.
#include "kernels/bf16.h"
#include "kernels/cuda/conv2d.h"
#include "kernels/cuda/conv2d_wgrad.h"
#include "kernels/cuda/mma.h"
#include "kernels/cuda/values.h"

namespace rtfq::kernels::RTFQ_GPU {
namespace {

constexpr int step = 32;  // pixels

template <class X, int rows_, int columns_, int per_sm_>
struct Tile {
  static constexpr bool codes = sizeof(X) == 1;
  static constexpr int rows = rows_, columns = columns_, per_sm = per_sm_, threads = 128, stages = 6;
  static constexpr int left_pitch = 2 * rows, right_pitch = 2 * columns;  // bytes of a pixel
  static constexpr int left_bytes = step * left_pitch, right_bytes = step * right_pitch;
  static constexpr int raw_bytes = codes ? step * columns : 0;  // of codes as they are
  static constexpr int right_stages = codes ? 2 : stages;
  static constexpr int right_at = stages * left_bytes, raw_at = right_at + right_stages * right_bytes;
  static constexpr std::size_t shared_bytes = raw_at + stages * raw_bytes;
};

/// Byte of chunk `chunk` of a pixel's row; rows 8 apart are permuted alike.
__device__ __forceinline__ int place(int row, int pitch, int chunk) {
  return row * pitch + ((chunk ^ (row & 7)) << 4);
}

/// 16 codes as bf16, 8 at each place.
template <class X>
__device__ __forceinline__ void widen(const unsigned char* raw, unsigned char* low, unsigned char* high) {
  const Floats<16> f = load<16>(reinterpret_cast<const X*>(raw));
  Floats<8> half;
#pragma unroll
  for (int j = 0; j < 8; ++j) half.v[j] = f.v[j];
  store<8>(reinterpret_cast<bf16*>(low), half);
#pragma unroll
  for (int j = 0; j < 8; ++j) half.v[j] = f.v[8 + j];
  store<8>(reinterpret_cast<bf16*>(high), half);
}

template <class X, class T>
__global__ void __launch_bounds__(T::threads, T::per_sm)
    partial_sums(const __grid_constant__ Wgrad w, const X* __restrict__ x, const bf16* __restrict__ g,
                 const WgradTo to) {
  constexpr int chunk = 16 / static_cast<int>(sizeof(X));
  // Copies a thread makes: at `left_chunks` columns of `left_rows` pixels, and of x likewise.
  constexpr int left_chunks = T::rows / 64, rows = 2;
  constexpr int right_lanes = T::columns / chunk < 8 ? T::columns / chunk : 8;
  constexpr int right_rows = step * right_lanes / T::threads, right_chunks = T::columns / chunk / right_lanes;
  constexpr int m_tiles = T::rows / 32, n_tiles = T::columns / 16;
  SIMT_DYNAMIC_SHARED(unsigned char, staged);

  const ConvProduct& z = w.z;
  const ConvPart& part = z.part[0];
  const int column_tiles = (w.columns + T::columns - 1) / T::columns;
  const int row_tile = static_cast<int>(blockIdx.x) / column_tiles;
  const int row0 = row_tile * T::rows;
  const int column0 = (static_cast<int>(blockIdx.x) - row_tile * column_tiles) * T::columns;
  const int piece = static_cast<int>(blockIdx.y);
  const int first = piece * w.steps_per_piece * step;
  const int all_steps = (w.pixels - first + step - 1) / step;
  const int steps = all_steps < w.steps_per_piece ? all_steps : w.steps_per_piece;
  const int thread = static_cast<int>(threadIdx.x), lane = thread & 31, warp = thread >> 5;

  // The left operand's chunks: thread % 8 (+ 8) of pixels thread / 8 (+ 16).
  const int left_row = thread >> 3, left_chunk = thread & 7;
  int left_pixel = first + left_row;
  const bf16* left_from = g + static_cast<int64_t>(left_pixel) * z.columns + row0 + left_chunk * 8;
  const int left_to = place(left_row, T::left_pitch, left_chunk);

  // The right operand's: taps and channels stay, pixels go on.
  const int right_row = thread / right_lanes, right_lane = thread % right_lanes;
  constexpr int rows_apart = T::threads / right_lanes;
  ConvTap tap[right_chunks];
#pragma unroll
  for (int i = 0; i < right_chunks; ++i)
    tap[i] = column_tap(w, column0 + (right_lane + i * right_lanes) * chunk);
  Pixel pixel[right_rows];
#pragma unroll
  for (int i = 0; i < right_rows; ++i) pixel[i].start(w, first + right_row + i * rows_apart);
  int right_pixel = first + right_row;

  const auto copy_step = [&](int stage) {
    unsigned char* left = staged + stage * T::left_bytes + left_to;
#pragma unroll
    for (int i = 0; i < rows; ++i)
#pragma unroll
      for (int j = 0; j < left_chunks; ++j)
        // Chunks 8 apart are permuted alike.
        simt::copy_async<16>(left + i * 16 * T::left_pitch + j * 128,
                             left_from + static_cast<int64_t>(i) * 16 * z.columns + j * 64,
                             left_pixel + 16 * i < w.pixels && row0 + left_chunk * 8 + j * 64 < z.columns);
    left_from += static_cast<int64_t>(step) * z.columns;
    left_pixel += step;
#pragma unroll
    for (int i = 0; i < right_rows; ++i) {
      const int h = pixel[i].p * z.step + part.base_h, v = pixel[i].q * z.step + part.base_w;
      const int from = pixel[i].image * z.in_image + h * z.in_row + v * z.in_pixel;
      const int row = right_row + i * rows_apart;
      const bool inside = right_pixel + i * rows_apart < w.pixels;
#pragma unroll
      for (int j = 0; j < right_chunks; ++j) {
        const bool meets = inside && tap[j].r >= 0 &&
                           static_cast<unsigned>(h + tap[j].r) < static_cast<unsigned>(z.in_h) &&
                           static_cast<unsigned>(v + tap[j].s) < static_cast<unsigned>(z.in_w);
        const int own = right_lane + j * right_lanes;
        unsigned char* copy_to =
            T::codes ? staged + T::raw_at + stage * T::raw_bytes + row * T::columns + own * 16
                     : staged + T::right_at + stage * T::right_bytes + place(row, T::right_pitch, own);
        simt::copy_async<16>(copy_to, x + from + tap[j].input(z), meets);
      }
      pixel[i].advance(w);
    }
    right_pixel += step;
  };

  float sum[m_tiles][n_tiles][4] = {};
#pragma unroll
  for (int i = 0; i < T::stages - 1; ++i) {
    if (i < steps) copy_step(i);
    simt::copy_async_commit();
  }

  // Lane's rows for ldmatrix. Left: matrices are pixels 0-7 and 8-15 (lane / 16) of two chunks (lane / 8 %
  // 2); right: of two column tiles (lane / 16), pixels 0-7 and 8-15 (lane / 8 % 2).
  const int turn = lane & 7;
  const int warp_row = (warp >> 1) * (T::rows / 2), warp_column = (warp & 1) * (T::columns / 2);
  const int left_at = ((lane >> 4) * 8 + turn) * T::left_pitch;
  const int left_first = warp_row / 8 + (lane >> 3 & 1);
  const int right_at = ((lane >> 3 & 1) * 8 + turn) * T::right_pitch;
  const int right_first = warp_column / 8 + (lane >> 4);

  int stage = 0, ahead = T::stages - 1;
  for (int at = 0; at < steps; ++at) {
    simt::copy_async_wait<T::stages - 2>();
    const int right_stage = T::codes ? at & 1 : stage;
    unsigned char* right_tile = staged + T::right_at + right_stage * T::right_bytes;
    if constexpr (T::codes) {
#pragma unroll
      for (int i = 0; i < right_rows; ++i)
#pragma unroll
        for (int j = 0; j < right_chunks; ++j) {
          const int row = right_row + i * rows_apart, own = right_lane + j * right_lanes;
          widen<X>(staged + T::raw_at + stage * T::raw_bytes + row * T::columns + own * 16,
                   right_tile + place(row, T::right_pitch, 2 * own),
                   right_tile + place(row, T::right_pitch, 2 * own + 1));
        }
    }
    __syncthreads();  // this step is there for all, and what is written to next was used by all
    if (at + T::stages - 1 < steps) copy_step(ahead);
    simt::copy_async_commit();
    const unsigned char* left = staged + stage * T::left_bytes + left_at;
    const unsigned char* right = right_tile + right_at;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      uint32_t a[m_tiles][4];
#pragma unroll
      for (int i = 0; i < m_tiles; ++i)
        ldmatrix_transposed(a[i], left + half * 16 * T::left_pitch + (((left_first + 2 * i) ^ turn) << 4));
#pragma unroll
      for (int j = 0; j < n_tiles; j += 2) {
        uint32_t b[4];
        ldmatrix_transposed(b, right + half * 16 * T::right_pitch + (((right_first + j) ^ turn) << 4));
#pragma unroll
        for (int i = 0; i < m_tiles; ++i) {
          mma_bf16(sum[i][j], a[i], b[0], b[1]);
          mma_bf16(sum[i][j + 1], a[i], b[2], b[3]);
        }
      }
    }
    stage = stage + 1 == T::stages ? 0 : stage + 1;
    ahead = ahead + 1 == T::stages ? 0 : ahead + 1;
  }

  const float scale = wgrad_scale(w, to);
#pragma unroll
  for (int j = 0; j < n_tiles; ++j) {
    const int column = column0 + warp_column + 8 * j + 2 * (lane & 3);
    if (column >= w.columns) continue;
    const WgradColumn own(w, to, piece, column);
#pragma unroll
    for (int i = 0; i < 2 * m_tiles; ++i) {
      const int k = row0 + warp_row + 8 * i + (lane >> 2);
      if (k < z.columns)
        own.put(w, to, k, sum[i >> 1][j][2 * (i & 1)], sum[i >> 1][j][2 * (i & 1) + 1], scale);
    }
  }
}

/// Images are folded as bf16, codes too: it holds them exactly, in half as many columns.
bool is_folded(const Conv2dShape& s) {
  return s.c <= 4;
}

ConvProduct product_of(const Conv2dShape& s) {
  return is_folded(s) ? folded_product(s, RTFQ_BF16) : forward_product(s, s.c);
}

WgradTile tile_of(ConvTile tile, const Conv2dShape& s) {
  const int rows = tile == ConvTile::small ? 64 : 128, columns = tile == ConvTile::large ? 128 : 64;
  const int element = is_folded(s) ? 2 : static_cast<int>(element_bytes(s.x_type));
  return {rows,
          columns,
          step,
          tile == ConvTile::large  ? 2
          : tile == ConvTile::wide ? 3
                                   : 4,
          step * (2 * rows + element * columns),
          2e6};
}

/// The tile, with its cut, that is estimated to take least.
ConvTile choose_tile(ConvTile wanted, const Conv2dShape& s) {
  if (wanted != ConvTile::by_cost) return wanted;
  const ConvProduct z = product_of(s);
  ConvTile best = ConvTile::large;
  double least = 1e30;
  for (const ConvTile tile : {ConvTile::large, ConvTile::wide, ConvTile::small}) {
    const double cost = best_cut(z, tile_of(tile, s), is_folded(s)).cost;
    if (cost < least) {
      least = cost;
      best = tile;
    }
  }
  return best;
}

Wgrad wgrad_of(const Conv2dShape& s, ConvTile tile) {
  return cut_pixels(product_of(s), tile_of(tile, s), is_folded(s));
}

/// Where the partial sums begin in the workspace: behind the copy of the image.
std::size_t partial_at(const Conv2dShape& s) {
  return is_folded(s) ? (folded_bytes(s, RTFQ_BF16) + 63) / 64 * 64 : 0;
}

template <class X, class T>
void launch_sums(const Wgrad& w, const void* x, const void* g, const WgradTo& to, Stream stream) {
  const unsigned tiles = static_cast<unsigned>((w.z.columns + T::rows - 1) / T::rows) *
                         static_cast<unsigned>((w.columns + T::columns - 1) / T::columns);
  simt::launch(partial_sums<X, T>, dim3(tiles, static_cast<unsigned>(w.pieces)), dim3(T::threads),
               T::shared_bytes, stream_of(stream), w, static_cast<const X*>(x), static_cast<const bf16*>(g),
               to);
}

template <class X>
void sums(ConvTile tile, const Wgrad& w, const void* x, const void* g, const WgradTo& to, Stream stream) {
  if (tile == ConvTile::large) return launch_sums<X, Tile<X, 128, 128, 2>>(w, x, g, to, stream);
  if (tile == ConvTile::wide) return launch_sums<X, Tile<X, 128, 64, 3>>(w, x, g, to, stream);
  launch_sums<X, Tile<X, 64, 64, 4>>(w, x, g, to, stream);
}

}  // namespace

const char* conv2d_wgrad_mma_unsupported(const Conv2dWgrad& op, const Conv2dShape& s) {
  if (const char* reason = unsupported_types(op, s)) return reason;
  if (s.y_type != RTFQ_BF16) return "takes gradients in bf16";
  if (is_folded(s)) return fold_unsupported(s, RTFQ_BF16);
  return product_unsupported(s, s.c, element_bytes(s.x_type), s.k);
}

template <ConvTile wanted>
std::size_t conv2d_wgrad_mma_bytes(const Conv2dShape& s) {
  const Wgrad w = wgrad_of(s, choose_tile(wanted, s));
  return partial_at(s) + w.partial_bytes();
}

template <ConvTile wanted>
void conv2d_wgrad_mma(const Conv2dShape& s, const Conv2dWgradArgs& a, Stream stream) {
  if (!aligned(a.x, 16) || !aligned(a.g, 16) || !aligned(a.workspace, 16))
    throw std::invalid_argument(
        "[conv2d] the tensor cores' kernels expect operands at multiples of 16 bytes: take them from "
        "runtime::allocate, or choose \"naive\"");
  const ConvTile tile = choose_tile(wanted, s);
  const Wgrad w = wgrad_of(s, tile);
  const void* x = a.x;
  if (is_folded(s)) {
    fold_image(s, RTFQ_BF16, x, a.workspace, stream);
    x = a.workspace;
  }
  auto* partial = reinterpret_cast<float*>(static_cast<unsigned char*>(a.workspace) + partial_at(s));
  const WgradTo to = wgrad_to(s, a, partial);
  if (s.x_type == RTFQ_BF16 || is_folded(s))
    sums<bf16>(tile, w, x, a.g, to, stream);
  else if (s.x_type == RTFQ_U8)
    sums<uint8_t>(tile, w, x, a.g, to, stream);
  else
    sums<int8_t>(tile, w, x, a.g, to, stream);

  if (w.direct) return;
  const ConvFold fold(s, RTFQ_BF16);
  add_pieces(s, w, is_folded(s) ? &fold : nullptr, to, stream);
}

template std::size_t conv2d_wgrad_mma_bytes<ConvTile::by_cost>(const Conv2dShape&);
template void conv2d_wgrad_mma<ConvTile::by_cost>(const Conv2dShape&, const Conv2dWgradArgs&, Stream);
template std::size_t conv2d_wgrad_mma_bytes<ConvTile::large>(const Conv2dShape&);
template void conv2d_wgrad_mma<ConvTile::large>(const Conv2dShape&, const Conv2dWgradArgs&, Stream);
template std::size_t conv2d_wgrad_mma_bytes<ConvTile::wide>(const Conv2dShape&);
template void conv2d_wgrad_mma<ConvTile::wide>(const Conv2dShape&, const Conv2dWgradArgs&, Stream);
template std::size_t conv2d_wgrad_mma_bytes<ConvTile::small>(const Conv2dShape&);
template void conv2d_wgrad_mma<ConvTile::small>(const Conv2dShape&, const Conv2dWgradArgs&, Stream);

}  // namespace rtfq::kernels::RTFQ_GPU
