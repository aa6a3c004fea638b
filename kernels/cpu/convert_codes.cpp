#include "kernels/cpu/convert_codes.h"

#include <algorithm>

#include "kernels/cpu/bf16.h"

namespace rtfq::kernels::cpu {
namespace {

inline __m256i widen(const uint8_t* from) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
}
inline __m256i widen(const int8_t* from) {
  return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
}

inline void store16(float* to, __m256 low, __m256 high) {
  _mm256_storeu_ps(to, low);
  _mm256_storeu_ps(to + 8, high);
}
/// Nothing to round: the lower halves are zero.
inline void store16(bf16* to, __m256 low, __m256 high) {
  const __m256i a = _mm256_srli_epi32(_mm256_castps_si256(low), 16);
  const __m256i b = _mm256_srli_epi32(_mm256_castps_si256(high), 16);
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(a, b), 0xd8);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), words);
}

}  // namespace

template <class X, class T>
void convert_codes(const X* from, T* to, int64_t count) {
  constexpr int64_t block = 16384;
  const int64_t blocks = (count + block - 1) / block;
#pragma omp parallel for schedule(static) if (count >= parallel_elements)
  for (int64_t n = 0; n < blocks; ++n) {
    const int64_t end = std::min(count, (n + 1) * block);
    int64_t i = n * block;
    for (; i + 16 <= end; i += 16)
      store16(to + i, _mm256_cvtepi32_ps(widen(from + i)), _mm256_cvtepi32_ps(widen(from + i + 8)));
    for (; i < end; ++i) store1(to + i, static_cast<float>(from[i]));
  }
}

template void convert_codes(const uint8_t*, float*, int64_t);
template void convert_codes(const int8_t*, float*, int64_t);
template void convert_codes(const uint8_t*, bf16*, int64_t);
template void convert_codes(const int8_t*, bf16*, int64_t);

}  // namespace rtfq::kernels::cpu
