#pragma once
// What becomes of the sums of a tile of the fused convolution, in AVX2 (convquant_avx2.cpp).

#include <algorithm>
#include <cstring>

#include "kernels/cpu/convquant_forms.h"
#include "kernels/cpu/convquant_plan.h"
#include "kernels/cpu/lanes_avx2.h"
#include "kernels/cpu/normquant_element.h"

namespace rtfq::kernels::cpu {

/// z and its codes from sums [pixels][2][8].
template <bool quantized, rtfq_residual residual, rtfq_identity identity>
class FinishAvx2 {
 public:
  FinishAvx2(const ConvQuantShape& s, const ConvQuantArgs& a)
      : a_(a),
        k_(s.conv.k),
        quantizer_(quantized ? a.step : nullptr, s.qp),
        identity_quantizer_(identity == RTFQ_IDENTITY_CODES ? a.identity_step : nullptr, s.identity_qp),
        residual_step_(V::all(residual == RTFQ_RESIDUAL_CODES ? *a.residual_step : 0.0f)) {}

  static constexpr int64_t output_bytes() { return output_bytes_of<quantized, residual, identity>(); }

  RTFQ_INLINE void fetch(const int64_t* outputs, int64_t pixels, int64_t first) const {
    constexpr int64_t group_channels = 64;  // Avx2Kernel's
    fetch_outputs<quantized, residual>(a_, k_, outputs, pixels, first, group_channels);
  }

  /// P pixels; outputs[i]: the place of one among the output's; `k`: the first of 16 output channels.
  template <int P>
  RTFQ_INLINE void tile(const __m256i* sums, const int64_t* outputs, int64_t k) const {
    if (k + V::width <= k_) [[likely]]
      finish<P, true>(sums, outputs, k, V::width);
    else
      finish_some<P>(sums, outputs, k, k_ - k);
  }

 private:
  using V = Avx2;
  using Floats = V::Floats;

  /// `whole`: n is 16.
  template <int P, bool whole>
  RTFQ_INLINE void finish(const __m256i* sums, const int64_t* outputs, int64_t k, int64_t n) const {
    const Channels of_channels{load<whole>(a_.scale + k, n), load<whole>(a_.mean + k, n),
                               load<whole>(a_.factor + k, n), load<whole>(a_.shift + k, n)};
    // In registers: a byte that is stored could be part of anything in memory.
    const Quantizers q{once(residual_step_), once(quantizer_.r), once(quantizer_.high),
                       once(identity_quantizer_.r), once(identity_quantizer_.high)};
    const ConvQuantArgs a = a_;
    each<(P + 1) / 2>([&](auto half) RTFQ_INLINE_LAMBDA {
      constexpr int first = 2 * half, second = std::min(first + 1, P - 1);
      const int64_t at[2] = {outputs[first] * k_ + k, outputs[second] * k_ + k};
      finish_two<whole, second - first + 1>(a, of_channels, q, sums + 2 * first, at, n);
    });
  }

  /// Fewer than 16 channels. Inlined, it would have g++ load the sums ahead of the question which it is.
  template <int P>
  [[gnu::noinline]] void finish_some(const __m256i* sums, const int64_t* outputs, int64_t k,
                                     int64_t n) const {
    finish<P, false>(sums, outputs, k, n);
  }

  struct Channels {
    Floats scale, mean, factor, shift;
  };
  struct Quantizers {
    Floats residual_step, r, high, identity_r, identity_high;
  };

  /// Two pixels, or one that is alone.
  template <bool whole, int count>
  RTFQ_INLINE static void finish_two(const ConvQuantArgs& a, const Channels& c, const Quantizers& q,
                                     const __m256i* sums, const int64_t (&at)[2], int64_t n) {
    __m256i words[2], identity_words[2];
    each<count>([&](auto j) RTFQ_INLINE_LAMBDA {
      const Floats y = V::multiply(c.scale, V::floats({sums[2 * j], sums[2 * j + 1]}));
      Floats z = V::multiply_add(V::subtract(y, c.mean), c.factor, c.shift);
      if constexpr (residual == RTFQ_RESIDUAL_VALUES)
        z = V::add(z, load<whole>(static_cast<const float*>(a.residual) + at[j], n));
      if constexpr (residual == RTFQ_RESIDUAL_CODES)
        z = V::add(z, V::multiply(numbers<whole>(static_cast<const uint8_t*>(a.residual) + at[j], n),
                                  q.residual_step));
      if constexpr (!quantized) store<whole>(static_cast<float*>(a.y) + at[j], z, n);
      if constexpr (identity == RTFQ_IDENTITY_VALUES)
        store<whole>(static_cast<float*>(a.identity) + at[j], V::maximum(V::all(0.0f), z), n);
      if constexpr (quantized) words[j] = words_of(z, q.r, q.high);
      if constexpr (identity == RTFQ_IDENTITY_CODES)
        identity_words[j] = words_of(z, q.identity_r, q.identity_high);
    });
    if constexpr (quantized) store_codes<whole, count>(static_cast<uint8_t*>(a.y), at, words, n);
    if constexpr (identity == RTFQ_IDENTITY_CODES)
      store_codes<whole, count>(static_cast<uint8_t*>(a.identity), at, identity_words, n);
  }

  /// Both halves in one register.
  RTFQ_INLINE static Floats once(Floats all) { return {all.low, all.low}; }

  template <bool whole>
  RTFQ_INLINE static Floats load(const float* from, int64_t n) {
    if constexpr (whole) return V::load(from);
    alignas(32) float padded[V::width] = {};
    std::memcpy(padded, from, static_cast<std::size_t>(n) * sizeof(float));
    return V::load(padded);
  }
  template <bool whole>
  RTFQ_INLINE static Floats numbers(const uint8_t* from, int64_t n) {
    alignas(16) uint8_t padded[V::width] = {};
    if constexpr (!whole) {
      std::memcpy(padded, from, static_cast<std::size_t>(n));
      from = padded;
    }
    const auto eight = [from](int i) RTFQ_INLINE_LAMBDA {
      return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from + 8 * i)));
    };
    return V::floats({eight(0), eight(1)});
  }
  template <bool whole>
  RTFQ_INLINE static void store(float* to, Floats z, int64_t n) {
    if constexpr (whole) return V::store<false>(to, z);
    alignas(32) float padded[V::width];
    V::store<false>(padded, z);
    std::memcpy(to, padded, static_cast<std::size_t>(n) * sizeof(float));
  }

  /// 16 codes in 16 bits, within 128-bit halves as the packing instructions work, and of them its saturation
  /// at zero is yet to come; a NaN, of which the minimum answers the second operand, becomes the most
  /// negative integer, and so the lowest code.
  RTFQ_INLINE static __m256i words_of(Floats z, Floats r, Floats high) {
    const V::Ints codes = V::ints(V::minimum(high, V::multiply(z, r)));
    return _mm256_packs_epi32(codes.low, codes.high);
  }
  template <bool whole, int count>
  RTFQ_INLINE static void store_codes(uint8_t* y, const int64_t (&at)[2], const __m256i (&words)[2],
                                      int64_t n) {
    const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(words[0], words[count - 1]),
                                                      _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    const __m128i codes[2] = {_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1)};
    for (int j = 0; j < count; ++j) {
      if constexpr (whole)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(y + at[j]), codes[j]);
      else
        std::memcpy(y + at[j], &codes[j], static_cast<std::size_t>(n));
    }
  }

  ConvQuantArgs a_;
  int64_t k_;
  UnsignedQuantizer<V> quantizer_, identity_quantizer_;
  Floats residual_step_;
};

}  // namespace rtfq::kernels::cpu
