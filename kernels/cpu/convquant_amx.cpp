// The fused convolution in AMX. A tile is 32 output pixels by 32 output channels, four registers of sums:
// each step of 64 codes loads two registers of pixels and two of weights for four products. Sums of 64
// channels go to memory that stays in the first cache, and are finished from there.
//
// Floor: macs / 1024 cycles, full tiles. Loads: 4 KiB a step of 64 cycles, from the second-level cache
// (pixels too where their rows are long), which gives about 48 bytes a cycle: 85 cycles. Not measured yet on
// a processor that has AMX: tests run the instructions through an emulator elsewhere
// (tests/support/amx_emulator.h).
//
// Pixels are rows of r*s*c codes (im2col, padding as zeros, filled up to a multiple of 64), but where the
// codes lie so already: 1x1, stride 1, channels in 64s. Weights are packed as [group of up to 64 output
// channels][up to 32 of them][step of 64 codes][up to 16 channels at a time][16][16 channels][4 codes].
#include <omp.h>

#include <algorithm>
#include <cstring>

#include "kernels/cpu/amx.h"
#include "kernels/cpu/convquant.h"
#include "kernels/cpu/convquant_finish.h"
#include "kernels/cpu/unroll.h"

namespace rtfq::kernels::cpu {
namespace {

constexpr int64_t block_pixels = 2 * amx::rows, pair_vectors = 2, most_chunk = 64, most_depth = 32768;

int64_t parts(int64_t value, int64_t size) {
  return (value + size - 1) / size;
}

/// Threads that get rows of their own in a workspace, whoever asks for it and whoever launches.
int most_threads() {
  static const int count = omp_get_num_procs();
  return count;
}

/// How a shape is cut.
struct Plan {
  const Conv2dShape& s;
  int64_t depth, steps;     ///< codes of a row, and of 64 of them
  int64_t vectors, groups;  ///< of 16 and of 64 output channels
  int64_t pixels, blocks;   ///< of all images, and of 32 of them
  bool direct;              ///< x holds the rows
  int64_t chunk;            ///< blocks that take turns with a group's weights

  explicit Plan(const Conv2dShape& shape)
      : s(shape),
        depth(s.r * s.s * s.c),
        steps(parts(depth, amx::row_bytes)),
        vectors(parts(s.k, lanes)),
        groups(parts(s.k, group_channels)),
        pixels(s.n * output_height(s) * output_width(s)),
        blocks(parts(pixels, block_pixels)),
        direct(s.r == 1 && s.s == 1 && s.stride == 1 && s.pad == 0 && s.c % amx::row_bytes == 0 &&
               pixels >= block_pixels) {
    // Weights that stay in the second-level cache may be read for every block; others serve as many blocks as
    // stay there in their place.
    constexpr int64_t cached_weights = 768 << 10, cached_rows = 512 << 10;
    chunk = weight_bytes() <= cached_weights ? 1
                                             : std::clamp(cached_rows / (block_pixels * row_bytes()),
                                                          int64_t{1}, std::min(blocks, most_chunk));
  }

  int64_t row_bytes() const { return steps * amx::row_bytes; }
  int64_t weight_bytes() const { return steps * vectors * amx::tile_bytes; }
  int64_t vectors_of(int64_t group) const { return std::min(group_vectors, vectors - group * group_vectors); }
  /// Rows of a thread.
  int64_t rows_bytes() const { return direct ? 0 : chunk * block_pixels * row_bytes(); }
  /// Where the weights of a pair begin.
  int64_t pair_at(int64_t group, int64_t pair) const {
    return (group * group_vectors + pair * pair_vectors) * steps * amx::tile_bytes;
  }
  /// Of output channel k, code i of a row: where it lies.
  int64_t place(int64_t k, int64_t i) const {
    const int64_t vector = k / lanes, group = vector / group_vectors, in_group = vector % group_vectors,
                  pair = in_group / pair_vectors,
                  of_pair = std::min(pair_vectors, vectors_of(group) - pair * pair_vectors);
    return pair_at(group, pair) + (i / 64 * of_pair + in_group % pair_vectors) * amx::tile_bytes +
           i % 64 / 4 * 64 + k % lanes * 4 + i % 4;
  }
};

/// M by N registers of sums, to memory in rows of `sums_stride` bytes.
template <int M, int N, bool signed_x>
void multiply(const uint8_t* rows, int64_t stride, const int8_t* weights, int64_t steps, int32_t* sums,
              int64_t sums_stride) {
  each<M * N>([](auto i) RTFQ_INLINE_LAMBDA { amx::zero<i>(); });
  for (int64_t step = 0; step < steps; ++step, rows += amx::row_bytes, weights += N * amx::tile_bytes) {
    each<N>([&](auto n) RTFQ_INLINE_LAMBDA { amx::load<6 + n>(weights + n * amx::tile_bytes, 64); });
    each<M>([&](auto m) RTFQ_INLINE_LAMBDA {
      amx::load<4 + m>(rows + m * amx::rows * stride, stride);
      each<N>([&](auto n) RTFQ_INLINE_LAMBDA { amx::multiply<m * N + n, 4 + m, 6 + n, signed_x>(); });
    });
  }
  each<M>([&](auto m) RTFQ_INLINE_LAMBDA {
    each<N>([&](auto n) RTFQ_INLINE_LAMBDA {
      amx::store<m * N + n>(reinterpret_cast<uint8_t*>(sums + n * lanes) + m * amx::rows * sums_stride,
                            sums_stride);
    });
  });
}

using Multiply = void (*)(const uint8_t*, int64_t, const int8_t*, int64_t, int32_t*, int64_t);
template <bool signed_x>
constexpr Multiply products[2][2] = {{multiply<1, 1, signed_x>, multiply<1, 2, signed_x>},
                                     {multiply<2, 1, signed_x>, multiply<2, 2, signed_x>}};

void copy_codes(const uint8_t* from, uint8_t* to, int64_t count) {
  int64_t i = 0;
  for (; i + 64 <= count; i += 64) _mm512_storeu_si512(to + i, _mm512_loadu_si512(from + i));
  const __mmask64 rest = (uint64_t{1} << (count - i)) - 1;
  _mm512_mask_storeu_epi8(to + i, rest, _mm512_maskz_loadu_epi8(rest, from + i));
}

/// A thread's share of the work: as many groups of blocks as everybody has, in the order chunk, group, block.
template <class F>
class Worker {
 public:
  Worker(const Plan& plan, const ConvQuantArgs& a, const F& finish, int64_t me, int64_t threads)
      : plan_(plan),
        x_(static_cast<const uint8_t*>(a.x)),
        packed_(static_cast<const int8_t*>(a.packed)),
        rows_(static_cast<uint8_t*>(a.workspace) + me * plan.rows_bytes()),
        finish_(finish),
        products_(plan.s.x_type == RTFQ_S8 ? products<true> : products<false>),
        from_(plan.blocks * plan.groups * me / threads),
        to_(plan.blocks * plan.groups * (me + 1) / threads) {}

  void run() {
    const amx::Tiles tiles;
    int64_t before = 0;
    for (int64_t first = 0; first < plan_.blocks && before < to_; first += plan_.chunk) {
      const int64_t count = std::min(plan_.chunk, plan_.blocks - first);
      unrolled_ = 0;
      for (int64_t group = 0; group < plan_.groups; ++group, before += count)
        for (int64_t i = std::max<int64_t>(0, from_ - before); i < std::min(count, to_ - before); ++i)
          run_block(group, first, i);
    }
  }

 private:
  /// Block `i` of the chunk that begins with block `first`.
  void run_block(int64_t group, int64_t first, int64_t i) {
    const int64_t begin = (first + i) * block_pixels, count = std::min(block_pixels, plan_.pixels - begin),
                  vectors = plan_.vectors_of(group), channel = group * group_channels;
    int64_t outputs[block_pixels];
    for (int64_t j = 0; j < count; ++j) outputs[j] = begin + j;
    finish_.fetch(outputs, count, channel);
    // Where x holds the rows, the last block takes some of the one before it again to be whole.
    const int64_t again = plan_.direct ? block_pixels - count : 0;
    const uint8_t* rows = plan_.direct ? x_ + (begin - again) * plan_.depth : unrolled(first, i);
    const int64_t stride = plan_.direct ? plan_.depth : plan_.row_bytes();
    const int64_t registers = parts(again + count, amx::rows);
    alignas(64) int32_t sums[block_pixels * group_channels];
    for (int64_t v = 0, pair = 0; v < vectors; v += pair_vectors, ++pair)
      products_[registers - 1][std::min(pair_vectors, vectors - v) - 1](
          rows, stride, packed_ + plan_.pair_at(group, pair), plan_.steps, sums + v * lanes, vectors * 64);
    const int32_t* wanted = sums + again * vectors * lanes;
    if (channel + group_channels <= plan_.s.k)
      finish_whole(wanted, outputs, count, channel);
    else
      finish_(wanted, outputs, count, channel, vectors);
  }

  /// The rows of a block, which are made when the chunk needs them first.
  const uint8_t* unrolled(int64_t first, int64_t i) {
    uint8_t* to = rows_ + i * block_pixels * plan_.row_bytes();
    const uint64_t bit = uint64_t{1} << i;
    if (unrolled_ & bit) return to;
    unrolled_ |= bit;
    const int64_t begin = (first + i) * block_pixels, end = std::min(begin + block_pixels, plan_.pixels);
    for (int64_t pixel = begin; pixel < end; ++pixel, to += plan_.row_bytes())
      unroll(plan_.s, x_, pixel, to, to + plan_.row_bytes(), copy_codes);
    return rows_ + i * block_pixels * plan_.row_bytes();
  }

  /// Sums of whole groups, from memory back to registers.
  void finish_whole(const int32_t* sums, const int64_t* outputs, int64_t count, int64_t channel) const {
    constexpr int together = 4;
    int64_t i = 0;
    for (; i + together <= count; i += together)
      finish_rows<together>(sums + i * group_channels, outputs + i, channel);
    for (; i < count; ++i) finish_rows<1>(sums + i * group_channels, outputs + i, channel);
  }
  template <int P>
  RTFQ_INLINE void finish_rows(const int32_t* sums, const int64_t* outputs, int64_t channel) const {
    __m512i of_pixels[P][group_vectors];
    each<P>([&](auto i) RTFQ_INLINE_LAMBDA {
      each<group_vectors>([&](auto v) RTFQ_INLINE_LAMBDA {
        of_pixels[i][v] = _mm512_load_si512(sums + i * group_channels + v * lanes);
      });
    });
    finish_.group(of_pixels, outputs, channel);
  }

  const Plan& plan_;
  const uint8_t* x_;
  const int8_t* packed_;
  uint8_t* rows_;
  const F& finish_;
  const Multiply (*products_)[2];
  int64_t from_, to_;
  uint64_t unrolled_ = 0;  ///< the chunk's blocks whose rows are made, a bit each
};

template <class F>
void convolve(const Plan& plan, const ConvQuantArgs& a, const F& finish) {
  constexpr int64_t serial_macs = 1 << 21;
  const int threads = std::min(omp_get_max_threads(), most_threads());
  if (macs(plan.s) <= serial_macs || threads == 1 || omp_in_parallel())
    return Worker<F>(plan, a, finish, 0, 1).run();
#pragma omp parallel num_threads(threads)
  Worker<F>(plan, a, finish, omp_get_thread_num(), omp_get_num_threads()).run();
}

}  // namespace

const char* convquant_amx_unsupported(const ConvQuantShape& s) {
  return s.conv.r * s.conv.s * s.conv.c <= most_depth ? nullptr : "sums of more than 32,768 products";
}

std::size_t convquant_amx_workspace(const ConvQuantShape& s) {
  return static_cast<std::size_t>(most_threads() * Plan(s.conv).rows_bytes());
}

std::size_t convquant_amx_packed(const ConvQuantShape& s) {
  return static_cast<std::size_t>(Plan(s.conv).weight_bytes());
}

void convquant_amx_pack(const ConvQuantShape& shape, const void* weights, void* packed, Stream) {
  const Plan plan(shape.conv);
  const Conv2dShape& s = shape.conv;
  std::memset(packed, 0, convquant_amx_packed(shape));
  for (int64_t k = 0; k < s.k; ++k)
    for (int64_t tap = 0, i = 0; tap < s.r * s.s; ++tap) {
      const int8_t* from = static_cast<const int8_t*>(weights) + (k * s.r * s.s + tap) * s.c_parent;
      for (int64_t c = 0; c < s.c; ++c, ++i) static_cast<int8_t*>(packed)[plan.place(k, i)] = from[c];
    }
}

void convquant_amx(const ConvQuantShape& s, const ConvQuantArgs& a, Stream) {
  const Plan plan(s.conv);
  with_finish<Finish>(s, a, [&](const auto& finish) { convolve(plan, a, finish); });
}

}  // namespace rtfq::kernels::cpu
