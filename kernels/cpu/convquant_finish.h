#pragma once
// What becomes of the sums of a tile of the fused convolution. Included by the files that name instructions
// (convquant_vnni.cpp, convquant_amx.cpp).

#include <algorithm>
#include <cstddef>

#include "kernels/cpu/convquant_forms.h"
#include "kernels/cpu/convquant_plan.h"
#include "kernels/cpu/lanes_avx512.h"
#include "kernels/cpu/normquant_element.h"

namespace rtfq::kernels::cpu {

/// Of the group of output channels that a tile covers.
inline constexpr int64_t group_vectors = 4, group_channels = lanes * group_vectors;

/// z and its codes from sums [pixels][vectors][16].
template <bool quantized, rtfq_residual residual, rtfq_identity identity>
class Finish {
 public:
  Finish(const ConvQuantShape& s, const ConvQuantArgs& a)
      : a_(a),
        k_(s.conv.k),
        quantizer_(quantized ? a.step : nullptr, s.qp),
        identity_quantizer_(identity == RTFQ_IDENTITY_CODES ? a.identity_step : nullptr, s.identity_qp),
        residual_step_(_mm512_set1_ps(residual == RTFQ_RESIDUAL_CODES ? *a.residual_step : 0.0f)) {}

  static constexpr int64_t output_bytes() { return output_bytes_of<quantized, residual, identity>(); }

  RTFQ_INLINE void fetch(const int64_t* outputs, int64_t pixels, int64_t first) const {
    fetch_outputs<quantized, residual>(a_, k_, outputs, pixels, first, group_channels);
  }

  /// What all pixels of a group of output channels share, in registers: a byte that is stored could be part
  /// of anything in memory.
  struct Group {
    const std::byte* of_residual;  ///< from the group's first channel on
    std::byte *y, *of_identity;
    int64_t stride;
    __mmask64 channels;  ///< that there are
    __m512 residual_step, r, high, identity_r, identity_high;
    __m512i order;
  };
  RTFQ_INLINE Group group_of(int64_t first) const {
    constexpr int64_t z_bytes = quantized ? 1 : 4, residual_bytes = residual == RTFQ_RESIDUAL_VALUES ? 4 : 1,
                      identity_bytes = identity == RTFQ_IDENTITY_VALUES ? 4 : 1;
    const auto from = [first](const void* data, int64_t bytes) RTFQ_INLINE_LAMBDA {
      return data ? static_cast<const std::byte*>(data) + first * bytes : nullptr;
    };
    return {from(a_.residual, residual_bytes),
            const_cast<std::byte*>(from(a_.y, z_bytes)),
            const_cast<std::byte*>(from(a_.identity, identity_bytes)),
            k_,
            ~__mmask64{0} >> std::max<int64_t>(0, first + group_channels - k_),
            residual_step_,
            quantizer_.r,
            quantizer_.high,
            identity_quantizer_.r,
            identity_quantizer_.high,
            _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)};
  }

  /// The norm of a group.
  struct Norm {
    __m512 scale[group_vectors], mean[group_vectors], factor[group_vectors], shift[group_vectors];
  };
  RTFQ_INLINE Norm norm_of(int64_t first, const Group& group) const {
    Norm norm;
    each<group_vectors>([&](auto v) RTFQ_INLINE_LAMBDA {
      const auto load = [&](const float* from) RTFQ_INLINE_LAMBDA {
        return _mm512_maskz_loadu_ps(of_vector(group.channels, v), from + first + v * lanes);
      };
      norm.scale[v] = load(a_.scale), norm.mean[v] = load(a_.mean), norm.factor[v] = load(a_.factor),
      norm.shift[v] = load(a_.shift);
    });
    return norm;
  }

  /// One pixel of a group, whose place among the output's is `output`. `whole`: the group has all channels.
  template <bool whole>
  RTFQ_INLINE static void pixel(const int32_t* sums, const Norm& norm, const Group& group, int64_t output) {
    __m512 z[group_vectors];
    each<group_vectors>([&](auto v) RTFQ_INLINE_LAMBDA {
      z[v] = normalized(_mm512_load_si512(sums + v * lanes), norm.scale[v], norm.mean[v], norm.factor[v],
                        norm.shift[v]);
    });
    pixel<whole>(z, group, output);
  }

  /// A whole group, in its registers.
  template <int P>
  RTFQ_INLINE void group(const __m512i (&sums)[P][group_vectors], const int64_t* outputs,
                         int64_t first) const {
    __m512 z[P][group_vectors];
    each<group_vectors>([&](auto v) RTFQ_INLINE_LAMBDA {
      const int64_t k = first + v * lanes;
      const __m512 scale = _mm512_loadu_ps(a_.scale + k), mean = _mm512_loadu_ps(a_.mean + k),
                   factor = _mm512_loadu_ps(a_.factor + k), shift = _mm512_loadu_ps(a_.shift + k);
      each<P>([&](auto i)
                  RTFQ_INLINE_LAMBDA { z[i][v] = normalized(sums[i][v], scale, mean, factor, shift); });
    });
    const Group shared = group_of(first);
    each<P>([&](auto i) RTFQ_INLINE_LAMBDA { pixel<true>(z[i], shared, outputs[i]); });
  }

 private:
  RTFQ_INLINE static __mmask16 of_vector(__mmask64 channels, int v) {
    return static_cast<__mmask16>(channels >> (lanes * v));
  }

  /// What becomes of a pixel's z without its residual: 64 codes are one store.
  template <bool whole>
  RTFQ_INLINE static void pixel(__m512 (&z)[group_vectors], const Group& group, int64_t output) {
    const int64_t at = output * group.stride;
    const auto store_codes = [&](std::byte* to, __m512i codes) RTFQ_INLINE_LAMBDA {
      whole ? _mm512_storeu_si512(to + at, codes) : _mm512_mask_storeu_epi8(to + at, group.channels, codes);
    };
    each<group_vectors>([&](auto v) RTFQ_INLINE_LAMBDA {
      const int64_t place = at + v * lanes;
      const __mmask16 some = of_vector(group.channels, v);
      const auto store = [&](std::byte* to, __m512 x) RTFQ_INLINE_LAMBDA {
        whole ? _mm512_storeu_ps(to + 4 * place, x) : _mm512_mask_storeu_ps(to + 4 * place, some, x);
      };
      if constexpr (residual == RTFQ_RESIDUAL_VALUES) {
        const std::byte* from = group.of_residual + 4 * place;
        z[v] = _mm512_add_ps(z[v], whole ? _mm512_loadu_ps(from) : _mm512_maskz_loadu_ps(some, from));
      }
      if constexpr (residual == RTFQ_RESIDUAL_CODES) {
        const auto* from = reinterpret_cast<const __m128i*>(group.of_residual + place);
        const __m128i codes = whole ? _mm_loadu_si128(from) : _mm_maskz_loadu_epi8(some, from);
        z[v] = _mm512_add_ps(z[v], _mm512_mul_ps(numbers(codes), group.residual_step));
      }
      if constexpr (!quantized) store(group.y, z[v]);
      if constexpr (identity == RTFQ_IDENTITY_VALUES)
        store(group.of_identity, _mm512_max_ps(_mm512_setzero_ps(), z[v]));
    });
    if constexpr (quantized) store_codes(group.y, codes_of(z, group.r, group.high, group.order));
    if constexpr (identity == RTFQ_IDENTITY_CODES)
      store_codes(group.of_identity, codes_of(z, group.identity_r, group.identity_high, group.order));
  }

  /// 64 codes. The packing saturates at zero; a NaN, of which the minimum answers the second operand, becomes
  /// the most negative integer, and so the lowest code.
  RTFQ_INLINE static __m512i codes_of(const __m512 (&z)[group_vectors], __m512 r, __m512 high,
                                      __m512i order) {
    const auto code = [&](__m512 x) RTFQ_INLINE_LAMBDA {
      return _mm512_cvtps_epi32(_mm512_min_ps(high, _mm512_mul_ps(x, r)));
    };
    const __m512i words = _mm512_packus_epi16(_mm512_packs_epi32(code(z[0]), code(z[1])),
                                              _mm512_packs_epi32(code(z[2]), code(z[3])));
    return _mm512_permutexvar_epi32(order, words);
  }

  /// z without the residual.
  RTFQ_INLINE static __m512 normalized(__m512i sums, __m512 scale, __m512 mean, __m512 factor, __m512 shift) {
    const __m512 y = _mm512_mul_ps(scale, _mm512_cvtepi32_ps(sums));
    return _mm512_fmadd_ps(_mm512_sub_ps(y, mean), factor, shift);
  }

  RTFQ_INLINE static __m512 numbers(__m128i codes) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(codes)); }

  ConvQuantArgs a_;
  int64_t k_;
  UnsignedQuantizer<Avx512> quantizer_, identity_quantizer_;
  __m512 residual_step_;
};

}  // namespace rtfq::kernels::cpu
