#pragma once
// Forward: one read of what z is made of, one write of the codes and of the identity. Included by the files
// that name instructions (normquant_avx2.cpp).

#include "kernels/cpu/normquant_element.h"

namespace rtfq::kernels::cpu {

template <class V, class T, rtfq_residual residual, rtfq_identity identity>
void normquant_forward(const NormQuantShape& s, const NormQuantForwardArgs& a, bool stream) {
  // Codes that go past the caches do so a whole line at a time: half a line of each place or stream in turn
  // would leave the processor with several unfinished ones.
  constexpr int64_t together = 2;
  const ChannelTiles tiles = joined_tiles<T>(s.norm.c);
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
    // `places` rows side by side, `apart` elements from one to the next.
    const auto each_row = [&](auto places, int64_t from, int64_t apart, int64_t width) RTFQ_INLINE_LAMBDA {
      for_each_runs_of_32<together>(width, [&](int64_t lane, int64_t n) RTFQ_INLINE_LAMBDA {
        repeat<places()>([&](int place) RTFQ_INLINE_LAMBDA {
          __m256i bytes[together]{}, identity_bytes[together]{};
          const auto each_run = [&](auto f) RTFQ_INLINE_LAMBDA {
            repeat<together>([&](int run) RTFQ_INLINE_LAMBDA {
              const int64_t of_lane = lane + 32 * run;
              if (n > 32 * run) f(run, from + place * apart + of_lane, n - 32 * run, of_lane);
            });
          };
          each_run([&](int run, int64_t at, int64_t left, int64_t of_lane) RTFQ_INLINE_LAMBDA {
            const typename ResidualSum<V, T, residual>::Run operands(sum, of_lane, at, ahead, left);
            typename V::Ints its[V::parts], identitys[V::parts];
            typename V::Run values;
            repeat<V::parts>([&](int part) RTFQ_INLINE_LAMBDA {
              const auto z = sum.at(operands, lanes, of_lane, part).z;
              its[part] = quantizer.codes(z);
              if constexpr (identity == RTFQ_IDENTITY_CODES) identitys[part] = identity_quantizer.codes(z);
              if constexpr (identity == RTFQ_IDENTITY_VALUES) values.part[part] = V::maximum(V::all(0.0f), z);
            });
            bytes[run] = V::template packed<T>(its);
            if constexpr (identity == RTFQ_IDENTITY_CODES)
              identity_bytes[run] = V::template packed<T>(identitys);
            if constexpr (identity == RTFQ_IDENTITY_VALUES)
              write_run<V, false>(identity_values + at, values, left, stream);
          });
          each_run([&](int run, int64_t at, int64_t left, int64_t)
                       RTFQ_INLINE_LAMBDA { write_code_bytes(codes + at, bytes[run], left, stream); });
          if constexpr (identity == RTFQ_IDENTITY_CODES)
            each_run([&](int run, int64_t at, int64_t left, int64_t) RTFQ_INLINE_LAMBDA {
              write_code_bytes(identity_codes + at, identity_bytes[run], left, stream);
            });
        });
      });
    };
#pragma omp for schedule(static)
    for (int64_t i = 0; i < blocks.total(); ++i) {
      const auto block = blocks[i];
      tiles.walk(
          block, filled, block.rows,
          [&](int64_t channel, int64_t width) { lanes.fill<T>(s, a.in, block.segment, channel, width); },
          [&](int64_t from, int64_t rows, int64_t width) RTFQ_INLINE_LAMBDA {
            const int64_t half = reads_two_places() ? rows / 2 : 0;
            for (int64_t row = 0; row < half; ++row)
              each_row(std::integral_constant<int, 2>{}, from + row * stride, half * stride, width);
            for (int64_t row = 2 * half; row < rows; ++row)
              each_row(std::integral_constant<int, 1>{}, from + row * stride, 0, width);
          });
    }
    finish_stores<true>();
  }
}

template <class V, class T>
void normquant_forward(const NormQuantShape& s, const NormQuantForwardArgs& a) {
  // AMD's processors with AVX2 alone write two streams faster through the caches (Zen 3, 26 M elements and a
  // residual of codes: 6.2 ms against 10.2), Intel's past them (Granite Rapids in AVX2: 0.78 of the time).
  const bool two = s.identity == RTFQ_IDENTITY_CODES;
  const bool stream =
      streams_codes(s, a.codes, a.identity) && (!two || V::register_bytes == 64 || made_by_intel());
  with_residual(s.residual, [&](auto residual) {
    with_identity(s.identity,
                  [&](auto identity) { normquant_forward<V, T, residual(), identity()>(s, a, stream); });
  });
}

}  // namespace rtfq::kernels::cpu
