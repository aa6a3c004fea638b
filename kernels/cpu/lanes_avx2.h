#pragma once
// Sixteen floats at a time in AVX2. Kernels that are templates over `Avx2` or `Avx512` (lanes_avx512.h) have
// the same bits in both: every operation here rounds once, as IEEE 754 says. Loads and stores take f32, bf16,
// f16 (of runs) and (loads) bytes; those of the first `n` lanes leave the memory behind them alone, and lanes
// beyond n read as zero.

#include <cstring>

#include "kernels/cpu/f16.h"

namespace rtfq::kernels::cpu {

struct Avx2 {
  static constexpr int64_t width = 16;
  static constexpr int parts = 2;  ///< of a run

  struct Floats {
    __m256 low, high;
  };
  using Mask = Floats;
  struct Doubles {
    __m256d part[4];
  };
  struct Ints {
    __m256i low, high;
  };
  /// 32 elements, in an order of their type's own: f32 and f16 as they lie in memory, bf16 the even ones and
  /// then the odd ones, which takes one instruction for each part and none to bring them into order.
  struct Run {
    Floats part[2];
  };

  RTFQ_INLINE static Floats all(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  RTFQ_INLINE static Floats load(const float* from) { return {load8(from), load8(from + 8)}; }
  template <bool stream>
  RTFQ_INLINE static void store(float* to, Floats x) {
    store8<stream>(to, x.low);
    store8<stream>(to + 8, x.high);
  }
  RTFQ_INLINE static Run load_run(const float* from) { return {{load(from), load(from + width)}}; }
  RTFQ_INLINE static Run load_run(const bf16* from) {
    const auto* words = reinterpret_cast<const __m256i*>(from);
    const __m256i low = _mm256_loadu_si256(words), high = _mm256_loadu_si256(words + 1);
    return {{{even(low), even(high)}, {odd(low), odd(high)}}};
  }
  template <bool stream>
  RTFQ_INLINE static void store_run(float* to, const Run& x) {
    store<stream>(to, x.part[0]);
    store<stream>(to + width, x.part[1]);
  }
  template <bool stream>
  RTFQ_INLINE static void store_run(bf16* to, const Run& x) {
    const auto round = [](Floats of) RTFQ_INLINE_LAMBDA -> Floats {
      return {_mm256_castsi256_ps(round_to_bf16(of.low)), _mm256_castsi256_ps(round_to_bf16(of.high))};
    };
    store_run_exact<stream>(to, {{round(x.part[0]), round(x.part[1])}});
  }
  /// Without NaNs whose payload is all ones: what rounding them costs less.
  template <bool stream>
  RTFQ_INLINE static void store_run_finite(float* to, const Run& x) {
    store_run<stream>(to, x);
  }
  template <bool stream>
  RTFQ_INLINE static void store_run_finite(bf16* to, const Run& x) {
    const auto round = [](Floats of) RTFQ_INLINE_LAMBDA -> Floats {
      return {_mm256_castsi256_ps(with_half(of.low)), _mm256_castsi256_ps(with_half(of.high))};
    };
    store_run_exact<stream>(to, {{round(x.part[0]), round(x.part[1])}});
  }
  /// What the type holds as it is; of bf16 only the upper halves are looked at.
  template <bool stream>
  RTFQ_INLINE static void store_run_exact(float* to, const Run& x) {
    store_run<stream>(to, x);
  }
  template <bool stream>
  RTFQ_INLINE static void store_run_exact(bf16* to, const Run& x) {
    auto* words = reinterpret_cast<__m256i*>(to);
    const __m256i low = joined(x.part[0].low, x.part[1].low), high = joined(x.part[0].high, x.part[1].high);
    stream ? _mm256_stream_si256(words, low) : _mm256_storeu_si256(words, low);
    stream ? _mm256_stream_si256(words + 1, high) : _mm256_storeu_si256(words + 1, high);
  }

  RTFQ_INLINE static Run load_run(const f16* from) {
    const auto eight = [&](int i) RTFQ_INLINE_LAMBDA {
      return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 8 * i)));
    };
    return {{{eight(0), eight(1)}, {eight(2), eight(3)}}};
  }
  template <bool stream>
  RTFQ_INLINE static void store_run(f16* to, const Run& x) {
    constexpr int nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    auto* words = reinterpret_cast<__m256i*>(to);
    for (int i = 0; i < 2; ++i) {
      const Floats& of = x.part[i];
      const __m256i both =
          _mm256_set_m128i(_mm256_cvtps_ph(of.high, nearest), _mm256_cvtps_ph(of.low, nearest));
      stream ? _mm256_stream_si256(words + i, both) : _mm256_storeu_si256(words + i, both);
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

  /// To nearest even.
  RTFQ_INLINE static Ints ints(Floats x) { return {_mm256_cvtps_epi32(x.low), _mm256_cvtps_epi32(x.high)}; }
  RTFQ_INLINE static Floats floats(Ints x) { return {_mm256_cvtepi32_ps(x.low), _mm256_cvtepi32_ps(x.high)}; }
  /// The lower bytes of integers in the order of a run of T.
  template <class T>
  RTFQ_INLINE static __m256i packed(Ints a, Ints b) {
    __m256i bytes;
    const __m256i byte = _mm256_set1_epi32(0xff);
    if constexpr (std::is_same_v<T, bf16>) {
      const auto both = [&](__m256i even, __m256i odd) {
        return _mm256_or_si256(_mm256_and_si256(even, byte),
                               _mm256_slli_epi32(_mm256_and_si256(odd, byte), 8));
      };
      bytes = _mm256_permute4x64_epi64(_mm256_packus_epi32(both(a.low, b.low), both(a.high, b.high)), 0xd8);
    } else {
      const auto words = [&](Ints of) {
        return _mm256_packus_epi32(_mm256_and_si256(of.low, byte), _mm256_and_si256(of.high, byte));
      };
      // The packing instructions work within 128-bit halves.
      bytes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(words(a), words(b)),
                                          _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    }
    return bytes;
  }
  RTFQ_INLINE static Floats add(Floats a, Floats b) {
    return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
  }
  RTFQ_INLINE static Floats subtract(Floats a, Floats b) {
    return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
  }
  RTFQ_INLINE static Floats multiply(Floats a, Floats b) {
    return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
  }
  /// a*b + c, rounded once.
  RTFQ_INLINE static Floats multiply_add(Floats a, Floats b, Floats c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
  }
  /// c - a*b, rounded once.
  RTFQ_INLINE static Floats subtract_product(Floats a, Floats b, Floats c) {
    return {_mm256_fnmadd_ps(a.low, b.low, c.low), _mm256_fnmadd_ps(a.high, b.high, c.high)};
  }
  /// The second operand where either is a NaN.
  RTFQ_INLINE static Floats maximum(Floats a, Floats b) {
    return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
  }
  RTFQ_INLINE static Floats minimum(Floats a, Floats b) {
    return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)};
  }
  RTFQ_INLINE static Floats absolute(Floats a) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_andnot_ps(sign, a.low), _mm256_andnot_ps(sign, a.high)};
  }
  RTFQ_INLINE static Floats round(Floats a) {
    constexpr int nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(a.low, nearest), _mm256_round_ps(a.high, nearest)};
  }

  /// a < b; false for a NaN.
  RTFQ_INLINE static Mask less(Floats a, Floats b) {
    return {_mm256_cmp_ps(a.low, b.low, _CMP_LT_OQ), _mm256_cmp_ps(a.high, b.high, _CMP_LT_OQ)};
  }
  RTFQ_INLINE static Mask both(Mask a, Mask b) {
    return {_mm256_and_ps(a.low, b.low), _mm256_and_ps(a.high, b.high)};
  }
  /// x where the mask holds, else 0.
  RTFQ_INLINE static Floats where(Mask mask, Floats x) { return both(mask, x); }
  /// a, and where the mask holds b added to it.
  RTFQ_INLINE static Floats add_where(Mask mask, Floats a, Floats b) { return add(a, where(mask, b)); }
  /// a where the mask holds, else b.
  RTFQ_INLINE static Floats choose(Mask mask, Floats a, Floats b) {
    return {_mm256_blendv_ps(b.low, a.low, mask.low), _mm256_blendv_ps(b.high, a.high, mask.high)};
  }
  RTFQ_INLINE static Doubles no_doubles() {
    const __m256d zero = _mm256_setzero_pd();
    return {{zero, zero, zero, zero}};
  }
  RTFQ_INLINE static void add_to(Doubles& sum, Floats x) {
    const auto add_half = [](__m256d& to, __m128 half) { to = _mm256_add_pd(to, _mm256_cvtps_pd(half)); };
    add_half(sum.part[0], _mm256_castps256_ps128(x.low));
    add_half(sum.part[1], _mm256_extractf128_ps(x.low, 1));
    add_half(sum.part[2], _mm256_castps256_ps128(x.high));
    add_half(sum.part[3], _mm256_extractf128_ps(x.high, 1));
  }
  RTFQ_INLINE static void load(const double* from, Doubles& to) {
    for (int i = 0; i < 4; ++i) to.part[i] = _mm256_loadu_pd(from + 4 * i);
  }
  RTFQ_INLINE static void store(double* to, const Doubles& x) {
    for (int i = 0; i < 4; ++i) _mm256_storeu_pd(to + 4 * i, x.part[i]);
  }

 private:
  friend struct Avx2Narrow;
  RTFQ_INLINE static __m256i with_half(__m256 x) { return add_half_bf16(_mm256_castps_si256(x)); }
  RTFQ_INLINE static __m256 even(__m256i words) { return _mm256_castsi256_ps(_mm256_slli_epi32(words, 16)); }
  RTFQ_INLINE static __m256 odd(__m256i words) {
    return _mm256_castsi256_ps(_mm256_and_si256(words, _mm256_set1_epi32(static_cast<int>(0xffff0000))));
  }
  RTFQ_INLINE static __m256i joined(__m256 even, __m256 odd) {
    return _mm256_blend_epi16(_mm256_srli_epi32(_mm256_castps_si256(even), 16), _mm256_castps_si256(odd),
                              0xaa);
  }
};

/// Eight floats at a time, for passes whose arithmetic would not stay in sixteen registers with sixteen: a
/// run is four parts, one after the other of which is finished. Sums of doubles are those of Avx2, in its
/// order.
struct Avx2Narrow {
  static constexpr int64_t width = 8, register_bytes = 32;
  static constexpr bool has_masks = false, packs_saturated = true;
  static constexpr int parts = 4;

  using Floats = __m256;
  using Mask = __m256;
  using Ints = __m256i;
  using Doubles = Avx2::Doubles;
  struct Run {
    Floats part[4];
  };

  RTFQ_INLINE static Floats all(float x) { return _mm256_set1_ps(x); }
  RTFQ_INLINE static Floats load(const float* from) { return load8(from); }
  template <bool stream>
  RTFQ_INLINE static void store(float* to, Floats x) {
    store8<stream>(to, x);
  }

  /// One part of the run at `from`, as of a run that is loaded whole.
  RTFQ_INLINE static Floats load_part(const float* from, int part) { return load8(from + 8 * part); }
  RTFQ_INLINE static Floats load_part(const bf16* from, int part) {
    const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from) + part % 2);
    return part < 2 ? Avx2::even(words) : Avx2::odd(words);
  }
  /// The same of 32 codes in the order of a run of T.
  template <class T>
  RTFQ_INLINE static Floats load_code_part(const uint8_t* from, int part) {
    if constexpr (std::is_same_v<T, bf16>) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from) + part % 2);
      const __m128i words = part < 2 ? _mm_and_si128(bytes, _mm_set1_epi16(0xff)) : _mm_srli_epi16(bytes, 8);
      return _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(words));
    } else {
      return _mm256_cvtepi32_ps(
          _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from + 8 * part))));
    }
  }
  template <bool stream, class T>
  RTFQ_INLINE static void store_run(T* to, const Run& x) {
    Avx2::store_run<stream>(to, wide(x));
  }
  template <bool stream, class T>
  RTFQ_INLINE static void store_run_exact(T* to, const Run& x) {
    Avx2::store_run_exact<stream>(to, wide(x));
  }
  /// As T would hold it, without NaNs whose payload is all ones, which costs less.
  template <class T>
  RTFQ_INLINE static Floats rounded_finite(Floats x) {
    if constexpr (std::is_same_v<T, bf16>)
      return Avx2::odd(Avx2::with_half(x));
    else
      return x;
  }
  RTFQ_INLINE static Ints ints(Floats x) { return _mm256_cvtps_epi32(x); }
  /// Integers of a run of T as codes up to 255; what is less than 0 is 0.
  template <class T>
  RTFQ_INLINE static __m256i packed(const Ints (&x)[4]) {
    // The packing instructions work within 128-bit halves. Of bf16 the even and the odd elements of four
    // meet: bytes of a half are four even ones, the four odd ones between them, and the same of the next 16.
    constexpr bool halves = std::is_same_v<T, bf16>;
    const __m256i first = halves ? _mm256_packus_epi32(x[0], x[2]) : _mm256_packus_epi32(x[0], x[1]),
                  second = halves ? _mm256_packus_epi32(x[1], x[3]) : _mm256_packus_epi32(x[2], x[3]);
    const __m256i bytes = _mm256_packus_epi16(first, second);
    if constexpr (!halves)
      return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    const __m256i woven = _mm256_shuffle_epi8(
        bytes,
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15)));
    return _mm256_permute4x64_epi64(woven, 0xd8);
  }

  RTFQ_INLINE static Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
  RTFQ_INLINE static Floats subtract(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
  RTFQ_INLINE static Floats multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
  RTFQ_INLINE static Floats multiply_add(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
  RTFQ_INLINE static Floats subtract_product(Floats a, Floats b, Floats c) {
    return _mm256_fnmadd_ps(a, b, c);
  }
  RTFQ_INLINE static Floats maximum(Floats a, Floats b) { return _mm256_max_ps(a, b); }
  RTFQ_INLINE static Floats minimum(Floats a, Floats b) { return _mm256_min_ps(a, b); }
  RTFQ_INLINE static Floats round(Floats a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  RTFQ_INLINE static Mask less(Floats a, Floats b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
  RTFQ_INLINE static Mask equal(Floats a, Floats b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
  RTFQ_INLINE static Floats where(Mask mask, Floats x) { return _mm256_and_ps(mask, x); }
  RTFQ_INLINE static Floats add_where(Mask mask, Floats a, Floats b) { return add(a, where(mask, b)); }

  RTFQ_INLINE static Doubles no_doubles() { return Avx2::no_doubles(); }
  RTFQ_INLINE static void add_to(Doubles& sum, const Run& x) {
    const Avx2::Run two = wide(x);
    Avx2::add_to(sum, two.part[0]);
    Avx2::add_to(sum, two.part[1]);
  }
  RTFQ_INLINE static void store(double* to, const Doubles& x) { Avx2::store(to, x); }

 private:
  RTFQ_INLINE static Avx2::Run wide(const Run& x) {
    return {{{x.part[0], x.part[1]}, {x.part[2], x.part[3]}}};
  }
};

}  // namespace rtfq::kernels::cpu
