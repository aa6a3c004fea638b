#pragma once
// The weight gradient's product by mma.sync: output channels by taps and their input channels, summed over the
// pixels of the batch. Terms are bf16 (or codes, which are exact in it) or f32 rounded to TF32.
//
// A block of 4 warps computes a tile of 128 x 128, 128 x 64 or 64 x 64 over a piece of the pixels, 32 of bf16
// or 16 of f32 a step, a warp a quarter of it. Both operands are staged as they lie in memory, a pixel a row, by
// copies that stay in flight for `stages` - 1 steps, and are transposed on their way to registers; codes are
// staged as they are and the thread that copied them makes bf16 of them. Chunks of 16 bytes are permuted within
// 128 bytes, so that reads meet no bank conflicts. Sums of one piece go to the parent's slice at once; of
// several to the workspace.

#include "kernels/bf16.h"
#include "kernels/cuda/conv2d_wgrad.h"
#include "kernels/cuda/mma.h"
#include "kernels/cuda/values.h"

namespace rtfq::kernels::RTFQ_GPU {

/// How a warp reads its quarter of a step and multiplies it. `place`: byte of chunk `chunk` of a pixel's row.
struct HalfTerms {
  static constexpr int bytes = 2;
  static __device__ __forceinline__ int place(int row, int pitch, int chunk) {
    return row * pitch + ((chunk ^ (row & 7)) << 4);  // rows 8 apart are permuted alike
  }

  int turn, left_row, left_chunk, right_row, right_chunk;
  /// Rows for ldmatrix.trans. Left: matrices are pixels 0-7 and 8-15 (lane / 16) of two chunks (lane / 8 % 2);
  /// right: of two column tiles (lane / 16), pixels 0-7 and 8-15 (lane / 8 % 2).
  __device__ __forceinline__ HalfTerms(int lane, int warp_row, int warp_column)
      : turn(lane & 7),
        left_row((lane >> 4) * 8 + turn),
        left_chunk(warp_row / 8 + (lane >> 3 & 1)),
        right_row((lane >> 3 & 1) * 8 + turn),
        right_chunk(warp_column / 8 + (lane >> 4)) {}

  template <int left_pitch, int right_pitch, int m_tiles, int n_tiles>
  __device__ __forceinline__ void multiply(const unsigned char* left, const unsigned char* right,
                                           float (&sum)[m_tiles][n_tiles][4]) const {
    left += left_row * left_pitch;
    right += right_row * right_pitch;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      uint32_t a[m_tiles][4];
#pragma unroll
      for (int i = 0; i < m_tiles; ++i)
        ldmatrix_transposed(a[i], left + half * 16 * left_pitch + (((left_chunk + 2 * i) ^ turn) << 4));
#pragma unroll
      for (int j = 0; j < n_tiles; j += 2) {
        uint32_t b[4];
        ldmatrix_transposed(b, right + half * 16 * right_pitch + (((right_chunk + j) ^ turn) << 4));
#pragma unroll
        for (int i = 0; i < m_tiles; ++i) {
          mma_bf16(sum[i][j], a[i], b[0], b[1]);
          mma_bf16(sum[i][j + 1], a[i], b[2], b[3]);
        }
      }
    }
  }
};

/// ldmatrix transposes 16-bit elements alone: a thread reads each of its elements, whose pixels are
/// lane % 4 (+ 4) and whose channels are lane / 4 (+ 8).
struct Tf32Terms {
  static constexpr int bytes = 4;
  static __device__ __forceinline__ int place(int row, int pitch, int chunk) {
    return row * pitch + ((chunk ^ (row & 3) << 1) << 4);  // four pixels' pairs of chunks: all 32 banks
  }

  int pixel, chunk, word, left_chunk, right_chunk;
  __device__ __forceinline__ Tf32Terms(int lane, int warp_row, int warp_column)
      : pixel(lane & 3),
        chunk(lane >> 4),
        word((lane >> 2 & 3) << 2),
        left_chunk(warp_row / 4 + chunk),
        right_chunk(warp_column / 4 + chunk) {}

  template <int pitch>
  __device__ __forceinline__ uint32_t read(const unsigned char* operand, int further, int own_chunk) const {
    return tf32(
        *reinterpret_cast<const uint32_t*>(operand + further * pitch + place(pixel, pitch, own_chunk) + word));
  }
  template <int left_pitch, int right_pitch, int m_tiles, int n_tiles>
  __device__ __forceinline__ void multiply(const unsigned char* left, const unsigned char* right,
                                           float (&sum)[m_tiles][n_tiles][4]) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      uint32_t a[m_tiles][4];
#pragma unroll
      for (int i = 0; i < m_tiles; ++i)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          a[i][e] = read<left_pitch>(left, 8 * half + (e >> 1) * 4, left_chunk + 4 * i + 2 * (e & 1));
#pragma unroll
      for (int j = 0; j < n_tiles; ++j) {
        const uint32_t b0 = read<right_pitch>(right, 8 * half, right_chunk + 2 * j),
                       b1 = read<right_pitch>(right, 8 * half + 4, right_chunk + 2 * j);
#pragma unroll
        for (int i = 0; i < m_tiles; ++i) mma_tf32(sum[i][j], a[i], b0, b1);
      }
    }
  }
};

/// A tile for x of type X_; g is of the terms' own size.
template <class Terms_, class X_, int rows_, int columns_, int per_sm_>
struct WgradMma {
  using Terms = Terms_;
  using X = X_;
  using G = std::conditional_t<Terms::bytes == 2, bf16, float>;
  static constexpr bool codes = sizeof(X) == 1;
  static constexpr int rows = rows_, columns = columns_, per_sm = per_sm_, threads = 128, stages = 6;
  static constexpr int step = 64 / Terms::bytes;  // pixels
  static constexpr int left_pitch = Terms::bytes * rows, right_pitch = Terms::bytes * columns;  // of a pixel
  static constexpr int left_bytes = step * left_pitch, right_bytes = step * right_pitch;
  static constexpr int raw_bytes = codes ? step * columns : 0;  // of codes as they are
  static constexpr int right_stages = codes ? 2 : stages;
  static constexpr int right_at = stages * left_bytes, raw_at = right_at + right_stages * right_bytes;
  static constexpr std::size_t shared_bytes = raw_at + stages * raw_bytes;
};

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

template <class T>
__global__ void __launch_bounds__(T::threads, T::per_sm)
    wgrad_mma_sums(const __grid_constant__ Wgrad w, const typename T::X* __restrict__ x,
                   const typename T::G* __restrict__ g, const WgradTo to) {
  using Terms = typename T::Terms;
  constexpr int chunk = 16 / static_cast<int>(sizeof(typename T::X)), g_chunk = 16 / Terms::bytes;
  constexpr int step = T::step;
  // Copies a thread makes: at `left_chunks` columns of `rows` pixels, and of x likewise.
  constexpr int left_chunks = T::left_pitch / 128, rows = step / 16;
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

  // The left operand's chunks: thread % 8 (and 8 further each) of pixels thread / 8 (+ 16).
  const int left_row = thread >> 3, left_chunk = thread & 7;
  int left_pixel = first + left_row;
  const typename T::G* left_from =
      g + static_cast<int64_t>(left_pixel) * z.columns + row0 + left_chunk * g_chunk;
  const int left_to = Terms::place(left_row, T::left_pitch, left_chunk);

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
        // Chunks 8 apart and pixels 16 apart are permuted alike.
        simt::copy_async<16>(
            left + i * 16 * T::left_pitch + j * 128,
            left_from + static_cast<int64_t>(i) * 16 * z.columns + j * 8 * g_chunk,
            left_pixel + 16 * i < w.pixels && row0 + left_chunk * g_chunk + j * 8 * g_chunk < z.columns);
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
                     : staged + T::right_at + stage * T::right_bytes + Terms::place(row, T::right_pitch, own);
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

  const int warp_row = (warp >> 1) * (T::rows / 2), warp_column = (warp & 1) * (T::columns / 2);
  const Terms terms(lane, warp_row, warp_column);
  int stage = 0, ahead = T::stages - 1;
  for (int at = 0; at < steps; ++at) {
    simt::copy_async_wait<T::stages - 2>();
    const int right_stage = T::codes ? at & 1 : stage;
    unsigned char* right = staged + T::right_at + right_stage * T::right_bytes;
    if constexpr (T::codes) {
#pragma unroll
      for (int i = 0; i < right_rows; ++i)
#pragma unroll
        for (int j = 0; j < right_chunks; ++j) {
          const int row = right_row + i * rows_apart, own = right_lane + j * right_lanes;
          widen<typename T::X>(staged + T::raw_at + stage * T::raw_bytes + row * T::columns + own * 16,
                               right + Terms::place(row, T::right_pitch, 2 * own),
                               right + Terms::place(row, T::right_pitch, 2 * own + 1));
        }
    }
    __syncthreads();  // this step is there for all, and what is written to next was used by all
    if (at + T::stages - 1 < steps) copy_step(ahead);
    simt::copy_async_commit();
    terms.template multiply<T::left_pitch, T::right_pitch>(staged + stage * T::left_bytes, right, sum);
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

template <class T>
void launch_wgrad_mma(const Wgrad& w, const void* x, const void* g, const WgradTo& to, Stream stream) {
  const unsigned tiles = static_cast<unsigned>((w.z.columns + T::rows - 1) / T::rows) *
                         static_cast<unsigned>((w.columns + T::columns - 1) / T::columns);
  simt::launch(wgrad_mma_sums<T>, dim3(tiles, static_cast<unsigned>(w.pieces)), dim3(T::threads),
               T::shared_bytes, stream_of(stream), w, static_cast<const typename T::X*>(x),
               static_cast<const typename T::G*>(g), to);
}

template <class Terms, class X>
void launch_wgrad_mma(ConvTile tile, const Wgrad& w, const void* x, const void* g, const WgradTo& to,
                      Stream stream) {
  if (tile == ConvTile::large)
    return launch_wgrad_mma<WgradMma<Terms, X, 128, 128, 2>>(w, x, g, to, stream);
  if (tile == ConvTile::wide)
    return launch_wgrad_mma<WgradMma<Terms, X, 128, 64, 3>>(w, x, g, to, stream);
  launch_wgrad_mma<WgradMma<Terms, X, 64, 64, 4>>(w, x, g, to, stream);
}

/// What a tile costs: x of `x_bytes` an element, g of the terms' size, `rate` as in WgradTile.
template <class Terms>
WgradTile wgrad_mma_tile(ConvTile tile, int x_bytes, double rate) {
  constexpr int step = 64 / Terms::bytes;
  const int rows = tile == ConvTile::small ? 64 : 128, columns = tile == ConvTile::large ? 128 : 64;
  const int per_sm = tile == ConvTile::large ? 2 : tile == ConvTile::wide ? 3 : 4;
  return {rows, columns, step, per_sm, step * (Terms::bytes * rows + x_bytes * columns), rate};
}

/// A weight gradient's product, where wanted of an image that is folded into pixels of type `fold_type` first,
/// the tile that computes it, and how the pixels are cut.
struct WgradMmaPlan {
  bool folded;
  rtfq_dtype fold_type;
  ConvTile tile;
  Wgrad w;
  std::size_t partial_at;  ///< where the partial sums begin in the workspace: behind the copy of the image

  std::size_t workspace() const { return partial_at + w.partial_bytes(); }
};

/// With the wanted tile, or by cost the one that is estimated to take least with its cut of the pixels.
template <class TileOf>
WgradMmaPlan plan_wgrad_mma(const Conv2dShape& s, ConvTile wanted, bool folded, rtfq_dtype fold_type,
                            const TileOf& tile_of) {
  const ConvProduct z = folded ? folded_product(s, fold_type) : forward_product(s, s.c);
  ConvTile best = wanted == ConvTile::by_cost ? ConvTile::large : wanted;
  double least = 1e30;
  if (wanted == ConvTile::by_cost)
    for (const ConvTile tile : {ConvTile::large, ConvTile::wide, ConvTile::small}) {
      const double cost = best_cut(z, tile_of(tile), folded).cost;
      if (cost < least) {
        least = cost;
        best = tile;
      }
    }
  return {folded, fold_type, best, cut_pixels(z, tile_of(best), folded),
          folded ? (folded_bytes(s, fold_type) + 63) / 64 * 64 : 0};
}

/// `sums(x, to)` launches the product of x, as it is or folded.
template <class Sums>
void run_wgrad_mma(const WgradMmaPlan& plan, const Conv2dShape& s, const Conv2dWgradArgs& a, const Sums& sums,
                   Stream stream) {
  require_aligned_operands({a.x, a.g, a.workspace});
  if (plan.folded) fold_image(s, plan.fold_type, a.x, a.workspace, stream);
  auto* partial = reinterpret_cast<float*>(static_cast<unsigned char*>(a.workspace) + plan.partial_at);
  const WgradTo to = wgrad_to(s, a, partial);
  sums(plan.folded ? a.workspace : a.x, to);
  if (plan.w.direct) return;
  const ConvFold fold(s, plan.fold_type);
  add_pieces(s, plan.w, plan.folded ? &fold : nullptr, to, stream);
}

}  // namespace rtfq::kernels::RTFQ_GPU
