#pragma once
// Eight bf16 values and eight floats at a time, so that a kernel written for `const float*` reads `const
// bf16*` through the same calls: load8, store8. Rounding is kernels/bf16.h's, bit for bit, in AVX2's integer
// instructions; AVX512-BF16's vcvtneps2bf16 would take a third of them, but it turns denormals into zeros,
// and these passes wait for memory anyway.

#include <immintrin.h>

#include <cstring>
#include <type_traits>

#include "kernels/bf16.h"
#include "kernels/cpu/policy.h"

namespace rtfq::kernels::cpu {

using kernels::to_bf16;

inline __m256 load8(const float* from) {
  return _mm256_loadu_ps(from);
}
inline __m256 load8(const bf16* from) {
  const __m128i words = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(words), 16));
}

/// Half a bf16's last place and, between two values, what takes the odd one up: the upper halves are then
/// those of the rounded numbers (not of a NaN whose payload is all ones, which becomes a zero).
RTFQ_INLINE __m256i add_half_bf16(__m256i bits) {
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  return _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
}

/// Each lane rounded to bf16, in the upper half of its 32 bits; the lower half is zero: the value as an f32.
inline __m256i round_to_bf16(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i rounded = add_half_bf16(bits);
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256 nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
  const __m256i result = _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(nan));
  return _mm256_and_si256(result, _mm256_set1_epi32(static_cast<int>(0xffff0000)));
}

/// The eight values as they are stored.
inline __m128i to_bf16(__m256 x) {
  const __m256i words = _mm256_srli_epi32(round_to_bf16(x), 16);
  return _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

/// `stream`: past the caches, see policy.h; `to` must then be aligned to its 8 elements.
template <bool stream = false>
inline void store8(float* to, __m256 x) {
  store<stream>(to, x);
}
template <bool stream = false>
inline void store8(bf16* to, __m256 x) {
  auto* words = reinterpret_cast<__m128i*>(to);
  if constexpr (stream)
    _mm_stream_si128(words, to_bf16(x));
  else
    _mm_storeu_si128(words, to_bf16(x));
}

/// One element, for what is left behind the last whole vector and for plain kernels.
inline float load1(const float* from) {
  return *from;
}
inline float load1(const bf16* from) {
  return to_float(*from);
}
inline void store1(float* to, float x) {
  *to = x;
}
inline void store1(bf16* to, float x) {
  *to = kernels::to_bf16(x);
}

/// policy.h's streams() by element type.
RTFQ_INLINE bool streams(const bf16* to, int64_t elements) {
  return streams(static_cast<const void*>(to), elements / 2);
}

}  // namespace rtfq::kernels::cpu
