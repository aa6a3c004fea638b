#pragma once
// Normalize (forward) and apply (backward): one pass each, at memory speed. Channel factors are computed once
// a thread and segment and laid out as the lanes of a wide row. Included by the files that name instructions
// (batchnorm_avx2.cpp).

#include "kernels/cpu/batchnorm.h"
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/channel_tiles.h"
#include "kernels/cpu/lanes.h"

namespace rtfq::kernels::cpu {

/// to[i] = element(lanes, lane, i, n) for every run of the tensor, of two rows side by side where two places
/// are read. `fill` computes the lanes of a tile of a block.
template <class V, class T, bool stream, class Lanes, class Fill, class Element>
RTFQ_INLINE void for_each_element(const BatchNormShape& s, T* to, bool two_places, Fill&& fill,
                                  Element&& element) {
  constexpr int64_t least_elements = 32768, least_wide_rows = 16;
  const ChannelTiles tiles(s.c);
  const RowBlocks blocks(s, std::max(least_elements / tiles.lanes(), least_wide_rows) * tiles.fold);
#pragma omp parallel if (elements(s) >= parallel_elements)
  {
    const int64_t stride = tiles.lanes(), ahead = tiles.ahead<T>();
    Lanes lanes;
    ChannelTiles::Filled filled;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < blocks.total(); ++i) {
      const auto block = blocks[i];
      tiles.walk(
          block, filled, block.rows,
          [&](int64_t channel, int64_t width) { fill(lanes, block.segment, channel, width); },
          [&](int64_t from, int64_t rows, int64_t width) RTFQ_INLINE_LAMBDA {
            const int64_t half = two_places ? rows / 2 : 0;
            const auto each = [&](auto places, int64_t first) RTFQ_INLINE_LAMBDA {
              for_each_run_of_32(width, [&](int64_t lane, int64_t n) RTFQ_INLINE_LAMBDA {
                repeat<places()>([&](int place) RTFQ_INLINE_LAMBDA {
                  const int64_t at = from + (first + place * half) * stride + lane;
                  write_run<V, false>(to + at, element(lanes, lane, at, ahead, n), n, stream);
                });
              });
            };
            for (int64_t row = 0; row < half; ++row) each(std::integral_constant<int, 2>{}, row);
            for (int64_t row = 2 * half; row < rows; ++row) each(std::integral_constant<int, 1>{}, row);
          });
    }
    finish_stores<stream>();
  }
}

template <class V, class T, bool relu, bool stream>
void batchnorm_normalize(const BatchNormShape& s, const BatchNormNormalizeArgs& a) {
  const auto* x = static_cast<const T*>(a.x);
  for_each_element<V, T, stream, NormLanes>(
      s, static_cast<T*>(a.y), reads_two_places(),
      [&](NormLanes& norm, int segment, int64_t channel, int64_t width) {
        norm.fill<T>(s, a.mean, a.variance, a.scale[segment], a.shift[segment], segment, channel, width);
      },
      [x](const NormLanes& norm, int64_t lane, int64_t at, int64_t ahead, int64_t n) RTFQ_INLINE_LAMBDA {
        const auto values = stream_run<V>(x + at, ahead, n);
        return by_parts<V>([&](int part, int64_t first) RTFQ_INLINE_LAMBDA {
          const int64_t l = lane + first;
          const auto y = normalized<V>(centred<V>(values.part[part], norm, l), norm, l);
          return relu ? V::maximum(V::all(0.0f), y) : y;  // its second operand for a NaN
        });
      });
}

template <class V, class T, bool stream>
void batchnorm_apply(const BatchNormShape& s, const BatchNormApplyArgs& a) {
  struct Lanes {
    NormLanes norm;
    GradientLanes gradient;
  };
  const auto* x = static_cast<const T*>(a.x);
  const auto* g = static_cast<const T*>(a.g);
  for_each_element<V, T, stream, Lanes>(
      s, static_cast<T*>(a.dx), false,
      [&](Lanes& lanes, int segment, int64_t channel, int64_t width) {
        lanes.norm.template fill<T>(s, a.mean, a.variance, a.scale[segment], nullptr, segment, channel,
                                    width);
        lanes.gradient.template fill<T>(s, a.variance, a.sum_g, a.sum_gx, a.counts[segment], segment, channel,
                                        width);
      },
      [x, g](const Lanes& lanes, int64_t lane, int64_t at, int64_t ahead, int64_t n) RTFQ_INLINE_LAMBDA {
        const auto values = stream_run<V>(x + at, ahead, n), gradients = stream_run<V>(g + at, ahead, n);
        return by_parts<V>([&](int part, int64_t first) RTFQ_INLINE_LAMBDA {
          const int64_t l = lane + first;
          return norm_gradient<V>(centred<V>(values.part[part], lanes.norm, l), gradients.part[part],
                                  lanes.norm, lanes.gradient.mean_g, lanes.gradient.slope, l);
        });
      });
}

/// Streamed stores want rows of whole lines and a result that is not also an operand, which is in the caches
/// then.
template <class T>
RTFQ_INLINE bool streams_rows(const BatchNormShape& s, const void* to) {
  return s.c * static_cast<int64_t>(sizeof(T)) % 64 == 0 &&
         streams(static_cast<const T*>(to), s.n * s.hw * s.c);
}

template <class V, class T>
void batchnorm_normalize(const BatchNormShape& s, const BatchNormNormalizeArgs& a) {
  if (a.x != a.y && streams_rows<T>(s, a.y))
    a.relu ? batchnorm_normalize<V, T, true, true>(s, a) : batchnorm_normalize<V, T, false, true>(s, a);
  else
    a.relu ? batchnorm_normalize<V, T, true, false>(s, a) : batchnorm_normalize<V, T, false, false>(s, a);
}

template <class V, class T>
void batchnorm_apply(const BatchNormShape& s, const BatchNormApplyArgs& a) {
  if (a.g != a.dx && a.x != a.dx && streams_rows<T>(s, a.dx))
    batchnorm_apply<V, T, true>(s, a);
  else
    batchnorm_apply<V, T, false>(s, a);
}

}  // namespace rtfq::kernels::cpu
