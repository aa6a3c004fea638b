#pragma once
// lanes_avx2.h in AVX-512, for files named *_avx512.cpp: kernels/CMakeLists.txt switches the instructions on
// for them alone, and a family's list asks the processor. What they share with other files is always inlined,
// because the linker takes any file's copy of an inline function.

#include <cstring>

#include "kernels/cpu/f16.h"

namespace rtfq::kernels::cpu {

struct Avx512 {
  static constexpr int64_t width = 16, register_bytes = 64;
  static constexpr int parts = 2;  ///< of a run
  static constexpr bool has_masks = true, packs_saturated = false;

  using Floats = __m512;
  using Mask = __mmask16;
  using Ints = __m512i;
  struct Doubles {
    __m512d part[2];
  };
  struct Run {
    Floats part[2];
  };

  RTFQ_INLINE static Floats all(float x) { return _mm512_set1_ps(x); }
  RTFQ_INLINE static Floats load(const float* from) { return _mm512_loadu_ps(from); }
  template <bool stream>
  RTFQ_INLINE static void store(float* to, Floats x) {
    stream ? _mm512_stream_ps(to, x) : _mm512_storeu_ps(to, x);
  }
  template <class T>
  RTFQ_INLINE static Floats rounded_finite(Floats x) {
    if constexpr (std::is_same_v<T, bf16>)
      return _mm512_castsi512_ps(_mm512_and_si512(add_half(_mm512_castps_si512(x)),
                                                  _mm512_set1_epi32(static_cast<int>(0xffff0000))));
    else
      return x;
  }

  RTFQ_INLINE static Run load_run(const float* from) { return {{load(from), load(from + width)}}; }
  RTFQ_INLINE static Run load_run(const bf16* from) {
    const __m512i words = _mm512_loadu_si512(from);
    return {{_mm512_castsi512_ps(_mm512_slli_epi32(words, 16)),
             _mm512_castsi512_ps(_mm512_and_si512(words, _mm512_set1_epi32(static_cast<int>(0xffff0000))))}};
  }
  /// One part of it.
  RTFQ_INLINE static Floats load_part(const float* from, int part) { return load(from + width * part); }
  RTFQ_INLINE static Floats load_part(const bf16* from, int part) { return load_run(from).part[part]; }
  template <bool stream>
  RTFQ_INLINE static void store_run(float* to, const Run& x) {
    store<stream>(to, x.part[0]);
    store<stream>(to + width, x.part[1]);
  }
  template <bool stream>
  RTFQ_INLINE static void store_run(bf16* to, const Run& x) {
    store_joined<stream>(to, rounded_words(x.part[0]), rounded_words(x.part[1]));
  }
  template <bool stream>
  RTFQ_INLINE static void store_run_finite(float* to, const Run& x) {
    store_run<stream>(to, x);
  }
  template <bool stream>
  RTFQ_INLINE static void store_run_finite(bf16* to, const Run& x) {
    store_joined<stream>(to, add_half(_mm512_castps_si512(x.part[0])),
                         add_half(_mm512_castps_si512(x.part[1])));
  }
  template <bool stream>
  RTFQ_INLINE static void store_run_exact(float* to, const Run& x) {
    store_run<stream>(to, x);
  }
  template <bool stream>
  RTFQ_INLINE static void store_run_exact(bf16* to, const Run& x) {
    store_joined<stream>(to, _mm512_castps_si512(x.part[0]), _mm512_castps_si512(x.part[1]));
  }

  RTFQ_INLINE static Run load_run(const f16* from) {
    const auto half = [&](int i) RTFQ_INLINE_LAMBDA {
      return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from) + i));
    };
    return {{half(0), half(1)}};
  }
  template <bool stream>
  RTFQ_INLINE static void store_run(f16* to, const Run& x) {
    auto* words = reinterpret_cast<__m256i*>(to);
    for (int i = 0; i < 2; ++i) {
      const __m256i half = _mm512_cvtps_ph(x.part[i], _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
      stream ? _mm256_stream_si256(words + i, half) : _mm256_storeu_si256(words + i, half);
    }
  }
  template <bool stream>
  RTFQ_INLINE static void store_run_finite(f16* to, const Run& x) {
    store_run<stream>(to, x);
  }
  template <bool stream>
  RTFQ_INLINE static void store_run_exact(f16* to, const Run& x) {
    store_run<stream>(to, x);
  }

  RTFQ_INLINE static Ints ints(Floats x) { return _mm512_cvtps_epi32(x); }
  RTFQ_INLINE static Floats floats(Ints x) { return _mm512_cvtepi32_ps(x); }
  template <class T>
  RTFQ_INLINE static __m256i packed(Ints a, Ints b) {
    if constexpr (std::is_same_v<T, bf16>) {
      // The third operand where the first is set, else the second.
      const __m512i both =
          _mm512_ternarylogic_epi32(_mm512_set1_epi32(0xff), _mm512_slli_epi32(b, 8), a, 0xac);
      return _mm512_cvtepi32_epi16(both);
    } else {
      return _mm256_set_m128i(_mm512_cvtepi32_epi8(b), _mm512_cvtepi32_epi8(a));
    }
  }
  template <class T>
  RTFQ_INLINE static Run load_codes(const uint8_t* from) {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    if constexpr (std::is_same_v<T, bf16>) {
      const __m512i words = _mm512_cvtepu8_epi16(bytes);
      return {
          {floats(_mm512_and_si512(words, _mm512_set1_epi32(0xffff))), floats(_mm512_srli_epi32(words, 16))}};
    } else {
      return {{floats(_mm512_cvtepu8_epi32(_mm256_castsi256_si128(bytes))),
               floats(_mm512_cvtepu8_epi32(_mm256_extracti128_si256(bytes, 1)))}};
    }
  }

  template <class T>
  RTFQ_INLINE static Floats load_code_part(const uint8_t* from, int part) {
    return load_codes<T>(from).part[part];
  }
  template <class T>
  RTFQ_INLINE static __m256i packed(const Ints (&x)[2]) {
    return packed<T>(x[0], x[1]);
  }

  RTFQ_INLINE static Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
  RTFQ_INLINE static Floats subtract(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
  RTFQ_INLINE static Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  RTFQ_INLINE static Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
  RTFQ_INLINE static Floats subtract_product(Floats a, Floats b, Floats c) {
    return _mm512_fnmadd_ps(a, b, c);
  }
  RTFQ_INLINE static Floats maximum(Floats a, Floats b) { return _mm512_max_ps(a, b); }
  RTFQ_INLINE static Floats minimum(Floats a, Floats b) { return _mm512_min_ps(a, b); }
  RTFQ_INLINE static Floats absolute(Floats a) { return _mm512_abs_ps(a); }
  RTFQ_INLINE static Floats round(Floats a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }

  RTFQ_INLINE static Mask less(Floats a, Floats b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
  RTFQ_INLINE static Mask below_or_nan(Floats a, Floats b) { return _mm512_cmp_ps_mask(b, a, _CMP_NLE_UQ); }
  RTFQ_INLINE static Mask both(Mask a, Mask b) { return static_cast<Mask>(a & b); }
  RTFQ_INLINE static Floats where(Mask mask, Floats x) { return _mm512_maskz_mov_ps(mask, x); }
  RTFQ_INLINE static Floats add_where(Mask mask, Floats a, Floats b) {
    return _mm512_mask_add_ps(a, mask, a, b);
  }
  RTFQ_INLINE static Floats choose(Mask mask, Floats a, Floats b) { return _mm512_mask_blend_ps(mask, b, a); }
  RTFQ_INLINE static Floats fraction(Mask mask, Floats a, Floats b) {
    return _mm512_mask_reduce_ps(b, mask, a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }

  RTFQ_INLINE static Doubles no_doubles() { return {{_mm512_setzero_pd(), _mm512_setzero_pd()}}; }
  RTFQ_INLINE static void add_to(Doubles& sum, Floats x) {
    sum.part[0] = _mm512_add_pd(sum.part[0], _mm512_cvtps_pd(_mm512_castps512_ps256(x)));
    sum.part[1] = _mm512_add_pd(sum.part[1], _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1)));
  }
  RTFQ_INLINE static void add_to(Doubles& sum, const Run& x) {
    add_to(sum, x.part[0]);
    add_to(sum, x.part[1]);
  }
  RTFQ_INLINE static void load(const double* from, Doubles& to) {
    for (int i = 0; i < 2; ++i) to.part[i] = _mm512_loadu_pd(from + 8 * i);
  }
  RTFQ_INLINE static void store(double* to, const Doubles& x) {
    for (int i = 0; i < 2; ++i) _mm512_storeu_pd(to + 8 * i, x.part[i]);
  }

 private:
  RTFQ_INLINE static __m512i add_half(__m512i bits) {
    const __m512i almost = _mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff));
    const __mmask16 odd = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x10000));
    return _mm512_mask_add_epi32(almost, odd, almost, _mm512_set1_epi32(1));
  }
  template <bool stream>
  RTFQ_INLINE static void store_joined(bf16* to, __m512i even, __m512i odd) {
    const __m512i words = _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_srli_epi32(even, 16), odd);
    stream ? _mm512_stream_si512(reinterpret_cast<__m512i*>(to), words) : _mm512_storeu_si512(to, words);
  }
  /// kernels/bf16.h's rounding; the result is the upper half of each word.
  RTFQ_INLINE static __m512i rounded_words(Floats x) {
    const __m512i bits = _mm512_castps_si512(x);
    return _mm512_mask_or_epi32(add_half(bits), _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), bits,
                                _mm512_set1_epi32(0x400000));
  }
};

}  // namespace rtfq::kernels::cpu
