// Batch statistics and the sums of the backward pass: one read of each operand at memory speed. Sums are
// taken per lane in f32 over at most `rows_per_sum` wide rows, then in double, block by block in a fixed
// order: they do not depend on the number of threads. The variance is a sum of squares about a shift (the
// mean of up to 32 rows spread over the segment), so that the mean's own square does not drown it.
#include <cstddef>

#include "kernels/cpu/batchnorm.h"
#include "kernels/cpu/batchnorm_layout.h"
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/policy.h"

namespace rtfq::kernels::cpu {
namespace {

constexpr int64_t rows_per_sum = 64;
constexpr int64_t sample_rows = 32;
constexpr int64_t block_elements = 65536;

RowBlocks blocks_of(const BatchNormShape& s, const WideRows& wide) {
  const int64_t unit = rows_per_sum * wide.fold;
  return {s, std::max<int64_t>(1, block_elements / (unit * s.c)) * unit};
}

/// Doubles [2][c] of each block.
std::size_t partials_bytes(const BatchNormShape& s) {
  return static_cast<std::size_t>(blocks_of(s, WideRows(s.c)).total() * 2 * s.c) * sizeof(double);
}

/// What is summed: two values of an element x (and g), given its channel's centre. A block is read from
/// `places` places at once: pages that are fetched side by side keep more of memory busy than one page after
/// the other (two cores of a Cascade Lake: 16 GB/s from one place, 19 with prefetching, 22 from four), and
/// the sums are fetched once for all.
struct SumSquares {
  static constexpr bool reads_g = false;
  static constexpr int places = 4;
  static void add(__m256 x, __m256, __m256 centre, __m256& first, __m256& second) {
    const __m256 d = _mm256_sub_ps(x, centre);
    first = _mm256_add_ps(first, d);
    second = _mm256_fmadd_ps(d, d, second);
  }
  static void add(float x, float, float centre, float& first, float& second) {
    const float d = x - centre;
    first += d;
    second = __builtin_fmaf(d, d, second);
  }
};

struct SumProducts {
  static constexpr bool reads_g = true;
  static constexpr int places = 2;
  static void add(__m256 x, __m256 g, __m256 centre, __m256& first, __m256& second) {
    first = _mm256_add_ps(first, g);
    second = _mm256_fmadd_ps(g, _mm256_sub_ps(x, centre), second);
  }
  static void add(float x, float g, float centre, float& first, float& second) {
    first += g;
    second = __builtin_fmaf(g, x - centre, second);
  }
};

/// Adds a wide row of each of `places` places, `apart` elements apart, to the lanes' sums.
template <class Sum, int places, class T>
void add_rows(const T* x, const T* g, int64_t apart, const float* centre, int64_t lanes, float* first,
              float* second) {
  int64_t l = 0;
  for (; l + 8 <= lanes; l += 8) {
    const __m256 middle = _mm256_load_ps(centre + l);
    __m256 a = _mm256_load_ps(first + l), b = _mm256_load_ps(second + l);
    for (int place = 0; place < places; ++place) {
      const int64_t from = place * apart;
      prefetch(x + from, l);
      if constexpr (Sum::reads_g) prefetch(g + from, l);
      const __m256 value = load8(x + from + l);
      Sum::add(value, Sum::reads_g ? load8(g + from + l) : value, middle, a, b);
    }
    _mm256_store_ps(first + l, a);
    _mm256_store_ps(second + l, b);
  }
  for (; l < lanes; ++l)
    for (int64_t at = l, place = 0; place < places; ++place, at += apart)
      Sum::add(load1(x + at), Sum::reads_g ? load1(g + at) : 0.0f, centre[l], first[l], second[l]);
}

/// Adds lanes to their channels' doubles.
void flush(const float* lanes, int64_t count, int64_t c, double* channels) {
  for (int64_t l = 0; l < count; l += c)
    for (int64_t i = 0; i < std::min(c, count - l); ++i) channels[i] += static_cast<double>(lanes[l + i]);
}

/// partial[2][c] += the sums over rows [row, row + rows).
template <class Sum, class T>
void sum_block(const WideRows& wide, const T* x, const T* g, const float* centre, int64_t row, int64_t rows,
               double* partial) {
  // Side by side, a line apart: arrays at the same place of three pages would fight for the same lines of the
  // cache.
  alignas(64) float arrays[3 * (WideRows::tile + 32)];
  const int64_t room = (wide.step() + 15) / 16 * 16 + 16;
  float *const middle = arrays, *const first = arrays + room, *const second = arrays + 2 * room;
  const int64_t c = wide.c, lanes = wide.lanes(), whole = rows / wide.fold, part = whole / Sum::places;
  std::fill_n(partial, 2 * c, 0.0);
  for (int64_t t = 0; t < lanes; t += wide.step()) {
    const int64_t width = std::min(wide.step(), lanes - t);
    for (int64_t l = 0; l < width; l += c)
      std::copy_n(centre + t, std::min(c, width - l), middle + l);  // t > 0 only where lanes == c
    const auto add = [&]<int places>(int64_t from, int64_t wide_rows, int64_t used) {
      std::fill_n(first, used, 0.0f);
      std::fill_n(second, used, 0.0f);
      for (const int64_t end = from + wide_rows * lanes; from < end; from += lanes)
        add_rows<Sum, places>(x + from, Sum::reads_g ? g + from : nullptr, part * lanes, middle, used, first,
                              second);
      flush(first, used, c, partial + t);
      flush(second, used, c, partial + c + t);
    };
    constexpr int64_t together = rows_per_sum / Sum::places;
    for (int64_t i = 0; i < part; i += together)
      add.template operator()<Sum::places>(row * c + i * lanes + t, std::min(together, part - i), width);
    if (const int64_t left = whole - part * Sum::places)
      add.template operator()<1>(row * c + part * Sum::places * lanes + t, left, width);
    const int64_t rest = (rows - whole * wide.fold) * c;  // rows that do not fill a wide one
    if (rest) add.template operator()<1>((row + whole * wide.fold) * c, 1, rest);
  }
}

template <class Sum, class T>
void sum_blocks(const BatchNormShape& s, const T* x, const T* g, const float* centres, double* partials) {
  const WideRows wide(s.c);
  const RowBlocks blocks = blocks_of(s, wide);
#pragma omp parallel for schedule(static) if (elements(s) >= parallel_elements)
  for (int64_t i = 0; i < blocks.total(); ++i) {
    const auto [segment, row, rows] = blocks[i];
    sum_block<Sum>(wide, x, g, centres + segment * s.c, row, rows, partials + i * 2 * s.c);
  }
}

/// Calls f(segment, channel, first sum, second sum) with the sums over each segment's blocks.
template <class F>
void combine(const BatchNormShape& s, const double* partials, F&& f) {
  constexpr int64_t channels = 64;
  const RowBlocks blocks = blocks_of(s, WideRows(s.c));
  const int64_t groups = (s.c + channels - 1) / channels;
#pragma omp parallel for collapse(2) schedule(static) if (blocks.total() * s.c >= parallel_elements)
  for (int segment = 0; segment < s.segments; ++segment)
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t c = group * channels, width = std::min(channels, s.c - c);
      double first[channels] = {}, second[channels] = {};
      for (int64_t b = blocks.first(segment); b < blocks.first(segment + 1); ++b) {
        const double* from = partials + b * 2 * s.c + c;
        for (int64_t i = 0; i < width; ++i) first[i] += from[i], second[i] += from[s.c + i];
      }
      for (int64_t i = 0; i < width; ++i) f(segment, c + i, first[i], second[i]);
    }
}

/// The mean of rows spread over each segment, close enough to the segment's to keep squares about it small.
template <class T>
void sample_means(const BatchNormShape& s, const T* x, float* centres) {
  for (int segment = 0; segment < s.segments; ++segment) {
    const int64_t begin = (segment ? s.segment_end[segment - 1] : 0) * s.hw, rows = count(s, segment);
    const int64_t samples = std::min(sample_rows, rows);
    float* centre = centres + segment * s.c;
    std::fill_n(centre, s.c, 0.0f);
    for (int64_t i = 0; i < samples; ++i) {
      const T* row = x + (begin + i * rows / samples) * s.c;
      for (int64_t c = 0; c < s.c; ++c) centre[c] += load1(row + c);
    }
    for (int64_t c = 0; c < s.c; ++c) centre[c] /= static_cast<float>(samples);
  }
}

template <class T>
void statistics(const BatchNormShape& s, const BatchNormStatisticsArgs& a) {
  const auto* x = static_cast<const T*>(a.x);
  auto* partials = static_cast<double*>(a.workspace);
  auto* centres = reinterpret_cast<float*>(static_cast<std::byte*>(a.workspace) + partials_bytes(s));
  sample_means(s, x, centres);
  sum_blocks<SumSquares, T>(s, x, nullptr, centres, partials);
  combine(s, partials, [&](int segment, int64_t c, double sum, double squares) {
    const auto m = static_cast<double>(count(s, segment));
    const double offset = sum / m, variance = squares / m - offset * offset;
    a.mean[segment * s.c + c] = static_cast<float>(static_cast<double>(centres[segment * s.c + c]) + offset);
    a.variance[segment * s.c + c] = static_cast<float>(variance < 0 ? 0 : variance);  // a NaN stays one
  });
}

template <class T>
void reduce(const BatchNormShape& s, const BatchNormReduceArgs& a) {
  auto* partials = static_cast<double*>(a.workspace);
  sum_blocks<SumProducts>(s, static_cast<const T*>(a.x), static_cast<const T*>(a.g), a.mean, partials);
  combine(s, partials, [&](int segment, int64_t c, double sum, double products) {
    const int64_t at = segment * s.c + c;
    a.sum_g[at] = static_cast<float>(sum);
    a.sum_gx[at] =
        static_cast<float>(products * static_cast<double>(inverse_deviation(a.variance[at], s.epsilon)));
  });
}

}  // namespace

std::size_t batchnorm_statistics_bytes(const BatchNormShape& s) {
  return partials_bytes(s) + static_cast<std::size_t>(s.segments * s.c) * sizeof(float);
}
std::size_t batchnorm_reduce_bytes(const BatchNormShape& s) {
  return partials_bytes(s);
}

void batchnorm_statistics_avx2(const BatchNormShape& s, const BatchNormStatisticsArgs& a, Stream) {
  s.type == RTFQ_BF16 ? statistics<bf16>(s, a) : statistics<float>(s, a);
}

void batchnorm_reduce_avx2(const BatchNormShape& s, const BatchNormReduceArgs& a, Stream) {
  s.type == RTFQ_BF16 ? reduce<bf16>(s, a) : reduce<float>(s, a);
}

}  // namespace rtfq::kernels::cpu
