#pragma once
// Forward: one read of what z is made of, one write of the codes and of the identity. Included by the files
// that name instructions (normquant_avx2.cpp).

#include "kernels/cpu/normquant_element.h"

namespace rtfq::kernels::cpu {

template <class V, class T, rtfq_residual residual, rtfq_identity identity>
void normquant_forward(const NormQuantShape& s, const NormQuantForwardArgs& a, bool stream) {
  const ChannelTiles tiles(s.norm.c);
  const RowBlocks blocks = normquant_blocks(s.norm, tiles);
#pragma omp parallel if (elements(s.norm) >= parallel_elements)
  {
    const int64_t stride = tiles.lanes(), ahead = tiles.ahead<T>();
    const ResidualSum<V, T, residual> sum(a.in);
    const UnsignedQuantizer<V> quantizer(a.in.step, s.qp),
        identity_quantizer(identity == RTFQ_IDENTITY_CODES ? a.in.identity_step : nullptr, s.identity_qp);
    uint8_t *const codes = a.codes, *const identity_codes = static_cast<uint8_t*>(a.identity);
    T* const identity_values = static_cast<T*>(a.identity);
    SumLanes lanes;
    ChannelTiles::Filled filled;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < blocks.total(); ++i) {
      const auto block = blocks[i];
      tiles.walk(
          block, filled, block.rows,
          [&](int64_t channel, int64_t width) { lanes.fill<T>(s, a.in, block.segment, channel, width); },
          [&](int64_t from, int64_t rows, int64_t width) RTFQ_INLINE_LAMBDA {
            for (int64_t row = 0; row < rows; ++row, from += stride)
              for_each_run_of_32(width, [&](int64_t lane, int64_t n) RTFQ_INLINE_LAMBDA {
                const int64_t at = from + lane;
                const auto z = sum.at(lanes, lane, at, ahead, n).z;
                write_codes<V, T>(codes + at, quantizer.codes(z.part[0]), quantizer.codes(z.part[1]), n,
                                  stream);
                if constexpr (identity == RTFQ_IDENTITY_CODES)
                  write_codes<V, T>(identity_codes + at, identity_quantizer.codes(z.part[0]),
                                    identity_quantizer.codes(z.part[1]), n, false);
                if constexpr (identity == RTFQ_IDENTITY_VALUES) {
                  const auto positive = by_parts<V>([&](int part, int64_t) RTFQ_INLINE_LAMBDA {
                    return V::maximum(V::all(0.0f), z.part[part]);
                  });
                  write_run<V, false>(identity_values + at, positive, n, stream);
                }
              });
          });
    }
    finish_stores<true>();
  }
}

template <class V, class T>
void normquant_forward(const NormQuantShape& s, const NormQuantForwardArgs& a) {
  const int64_t n = s.norm.n * s.norm.hw * s.norm.c;
  const bool aligned =
      s.identity == RTFQ_IDENTITY_NONE || reinterpret_cast<std::uintptr_t>(a.identity) % 64 == 0;
  // Two streams of codes, half a line at a time, would part each other's lines.
  const bool stream =
      s.identity != RTFQ_IDENTITY_CODES && s.norm.c % 32 == 0 && aligned && streams_codes(a.codes, n);
  with_residual(s.residual, [&](auto residual) {
    with_identity(s.identity,
                  [&](auto identity) { normquant_forward<V, T, residual(), identity()>(s, a, stream); });
  });
}

}  // namespace rtfq::kernels::cpu
