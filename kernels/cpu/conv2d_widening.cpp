// A group of up to 48 output pixels is unrolled to rows of 16-bit codes (im2col), r*s*c of them each; then 4
// rows by 16 output channels at a time stay in 8 registers while a chunk of the rows goes by. One step takes
// two codes of each row: 4 broadcasts, 2 loads of weights, 8 multiply-adds of pairs and 8 additions for 128
// multiply-adds, so that two multiplying ports allow 32 a cycle, twice f32's 16. (6 rows would take all 16
// registers; g++ 12 then spills some.) A chunk of weights (16 KiB) serves all 48 rows from the first cache,
// the rows stay in the second. Measured on two Zen 4 cores, 2026-11-23: 3x3 layers 250 to 310 GFLOP/s, 0.6 to
// 0.75 of that bound and 1.1 to 1.35 times f32 in AVX2; 1x1 layers of few channels 135 to 180, a stem 150
// (docs/results/conv-cpu.md).
#include "kernels/cpu/conv2d_widening.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/bf16.h"
#include "kernels/cpu/plan_cache.h"
#include "kernels/cpu/unroll.h"

namespace rtfq::kernels::widening {
namespace {

constexpr int64_t tile_rows = 4, tile_channels = 16, group_rows = 48, chunk_pairs = 256;

/// Sizes that follow from a shape.
struct Layout {
  int64_t pairs;   ///< of codes in a row, the last one filled up with a zero
  int64_t blocks;  ///< of 16 output channels
  int64_t pixels;  ///< of all images
  int64_t groups;
  explicit Layout(const Conv2dShape& s)
      : pairs((s.r * s.s * s.c + 1) / 2),
        blocks((s.k + tile_channels - 1) / tile_channels),
        pixels(s.n * output_height(s) * output_width(s)),
        groups((pixels + group_rows - 1) / group_rows) {}

  /// Codes of a row, room for whole vectors behind the last one.
  int64_t row_codes() const { return (2 * pairs + 15) / 16 * 16; }
  std::size_t rows_bytes() const {
    return static_cast<std::size_t>(group_rows * row_codes()) * sizeof(int16_t);
  }
  static constexpr std::size_t sums_bytes = group_rows * tile_channels * sizeof(int32_t);
  /// One worker's rows and sums; rows_bytes is a multiple of 64.
  std::size_t worker_bytes() const { return rows_bytes() + sums_bytes; }
};

inline __m256i widen(const uint8_t* from) {
  return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
inline __m256i widen(const int8_t* from) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}

template <class X>
inline void widen_run(const X* from, int16_t* to, int64_t count) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), widen(from + i));
  for (; i < count; ++i) to[i] = from[i];
}

/// The sums of one row. Named ones, not an array of them: the compiler keeps those in registers.
struct RowSums {
  __m256i low, high;

  explicit RowSums(const int32_t* from)
      : low(_mm256_load_si256(reinterpret_cast<const __m256i*>(from))),
        high(_mm256_load_si256(reinterpret_cast<const __m256i*>(from + 8))) {}
  void add(const int16_t* pair, __m256i w_low, __m256i w_high) {
    int32_t codes;
    std::memcpy(&codes, pair, sizeof codes);
    const __m256i both = _mm256_set1_epi32(codes);
    low = _mm256_add_epi32(low, _mm256_madd_epi16(both, w_low));
    high = _mm256_add_epi32(high, _mm256_madd_epi16(both, w_high));
  }
  void store(int32_t* to) const {
    _mm256_store_si256(reinterpret_cast<__m256i*>(to), low);
    _mm256_store_si256(reinterpret_cast<__m256i*>(to + 8), high);
  }
};

/// sums[4][16] += rows * weights over `pairs` pairs.
inline void multiply_tile(const int16_t* rows, int64_t row_codes, const int16_t* weights, int64_t pairs,
                          int32_t* sums) {
  static_assert(tile_rows == 4 && tile_channels == 16);
  RowSums s0(sums), s1(sums + 16), s2(sums + 32), s3(sums + 48);
  const int16_t *r0 = rows, *r1 = r0 + row_codes, *r2 = r1 + row_codes, *r3 = r2 + row_codes;
  for (int64_t i = 0; i < 2 * pairs; i += 2) {
    const auto* w = reinterpret_cast<const __m256i*>(weights + i * tile_channels);
    const __m256i low = _mm256_load_si256(w), high = _mm256_load_si256(w + 1);
    s0.add(r0 + i, low, high);
    s1.add(r1 + i, low, high);
    s2.add(r2 + i, low, high);
    s3.add(r3 + i, low, high);
  }
  s0.store(sums);
  s1.store(sums + 16);
  s2.store(sums + 32);
  s3.store(sums + 48);
}

inline void finish(const int32_t* sums, const float*, int64_t count, int32_t* y) {
  std::memcpy(y, sums, static_cast<std::size_t>(count) * sizeof(int32_t));
}
template <class Y>
void finish(const int32_t* sums, const float* scale, int64_t count, Y* y) {
  int64_t k = 0;
  for (; k + 8 <= count; k += 8) {
    const __m256 sum = _mm256_cvtepi32_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(sums + k)));
    cpu::store8(y + k, _mm256_mul_ps(_mm256_loadu_ps(scale + k), sum));
  }
  for (; k < count; ++k) cpu::store1(y + k, scale[k] * static_cast<float>(sums[k]));
}

template <class X, class Y>
void forward_group(const Conv2dShape& z, const Layout& layout, const Conv2dForwardArgs& a, int64_t group,
                   int16_t* rows, int32_t* sums) {
  const auto* x = static_cast<const X*>(a.x);
  const auto* weights = static_cast<const int16_t*>(a.packed);
  auto* y = static_cast<Y*>(a.y);
  const int64_t first = group * group_rows, count = std::min(group_rows, layout.pixels - first);
  const int64_t tiles = (count + tile_rows - 1) / tile_rows, row_codes = layout.row_codes();
  for (int64_t i = 0; i < count; ++i)
    cpu::unroll(z, x, first + i, rows + i * row_codes, rows + (i + 1) * row_codes, widen_run<X>);
  // Rows that only fill a tile up: their sums are dropped.
  std::fill(rows + count * row_codes, rows + tiles * tile_rows * row_codes, int16_t{0});
  for (int64_t block = 0; block < layout.blocks; ++block) {
    std::fill_n(sums, tiles * tile_rows * tile_channels, 0);
    const int16_t* block_weights = weights + block * layout.pairs * 2 * tile_channels;
    for (int64_t from = 0; from < layout.pairs; from += chunk_pairs) {
      const int64_t pairs = std::min(chunk_pairs, layout.pairs - from);
      for (int64_t tile = 0; tile < tiles; ++tile)
        multiply_tile(rows + tile * tile_rows * row_codes + 2 * from, row_codes,
                      block_weights + from * 2 * tile_channels, pairs,
                      sums + tile * tile_rows * tile_channels);
    }
    const int64_t k = block * tile_channels, channels = std::min(tile_channels, z.k - k);
    for (int64_t i = 0; i < count; ++i)
      finish(sums + i * tile_channels, a.scale ? a.scale + k : nullptr, channels, y + (first + i) * z.k + k);
  }
}

template <class X, class Y>
void forward(const Conv2dShape& z, const Conv2dForwardArgs& a) {
  const Layout layout(z);
  const int64_t count = plan_threads();
#pragma omp parallel for schedule(static)
  for (int64_t worker = 0; worker < count; ++worker) {
    auto* own =
        static_cast<std::byte*>(a.workspace) + static_cast<std::size_t>(worker) * layout.worker_bytes();
    auto* rows = reinterpret_cast<int16_t*>(own);
    auto* sums = reinterpret_cast<int32_t*>(own + layout.rows_bytes());
    for (int64_t group = worker; group < layout.groups; group += count)
      forward_group<X, Y>(z, layout, a, group, rows, sums);
  }
}

template <class X>
void forward(const Conv2dShape& z, const Conv2dForwardArgs& a) {
  switch (z.y_type) {
    case RTFQ_F32:
      return forward<X, float>(z, a);
    case RTFQ_BF16:
      return forward<X, bf16>(z, a);
    default:
      return forward<X, int32_t>(z, a);
  }
}

}  // namespace

const char* conv2d_forward_unsupported(const Conv2dShape& s) {
  const bool codes = s.w_type == RTFQ_S8 && !unsupported_types(Conv2dForward{}, s);
  return codes ? nullptr : "takes codes with s8 weights only";
}

void conv2d_forward(const Conv2dShape& s, const Conv2dForwardArgs& a, Stream) {
  s.x_type == RTFQ_U8 ? forward<uint8_t>(s, a) : forward<int8_t>(s, a);
}

std::size_t conv2d_forward_workspace(const Conv2dShape& s) {
  return static_cast<std::size_t>(plan_threads()) * Layout(s).worker_bytes();
}

std::size_t conv2d_forward_packed(const Conv2dShape& s) {
  const Layout layout(s);
  return static_cast<std::size_t>(layout.blocks * layout.pairs * 2 * tile_channels) * sizeof(int16_t);
}

/// [block of 16 channels][pair][channel][2], zeros where there is no channel or code.
void conv2d_forward_pack(const Conv2dShape& s, const void* weights, void* packed, Stream) {
  const Layout layout(s);
  const auto* from = static_cast<const int8_t*>(weights);
  auto* to = static_cast<int16_t*>(packed);
#pragma omp parallel for schedule(static) if (s.k * layout.pairs >= cpu::parallel_elements)
  for (int64_t block = 0; block < layout.blocks; ++block) {
    int16_t* own = to + block * layout.pairs * 2 * tile_channels;
    std::fill_n(own, layout.pairs * 2 * tile_channels, int16_t{0});
    const int64_t channels = std::min(tile_channels, s.k - block * tile_channels);
    for (int64_t k = 0; k < channels; ++k)
      for (int64_t tap = 0, i = 0; tap < s.r * s.s; ++tap) {
        const int8_t* filter = from + ((block * tile_channels + k) * s.r * s.s + tap) * s.c_parent;
        for (int64_t c = 0; c < s.c; ++c, ++i) own[(i / 2 * tile_channels + k) * 2 + i % 2] = filter[c];
      }
  }
}

}  // namespace rtfq::kernels::widening
