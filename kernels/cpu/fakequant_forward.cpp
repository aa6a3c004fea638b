// Fake-quant forward: one read of x, one write of values and/or codes, at memory speed. 32 elements at a
// time, because 32 codes fill a vector; what is left of a run goes through the same code on a padded copy, so
// that there is one rounding expression.
#include <cstring>

#include "kernels/cpu/bf16.h"
#include "kernels/cpu/fakequant.h"
#include "kernels/cpu/fakequant_partition.h"

namespace rtfq::kernels::cpu {
namespace {

constexpr int64_t width = 32;

struct Quantizer {
  __m256 r, step, low, high;

  /// clamp before rint: the bounds are integers, so the order does not matter, and the conversion cannot
  /// overflow. The maximum answers its second operand for a NaN: the lowest code.
  __m256i code(__m256 x) const {
    const __m256 v = _mm256_mul_ps(x, r);
    return _mm256_cvtps_epi32(_mm256_round_ps(_mm256_min_ps(_mm256_max_ps(v, low), high),
                                              _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  /// From the integer, so that a code of zero is +0 whatever sign v had.
  __m256 value(__m256i code) const { return _mm256_mul_ps(_mm256_cvtepi32_ps(code), step); }
};

Quantizer make_quantizer(const FakeQuantShape& s, float step) {
  return {_mm256_set1_ps(1.0f / step), _mm256_set1_ps(step), _mm256_set1_ps(static_cast<float>(-s.qn)),
          _mm256_set1_ps(static_cast<float>(s.qp))};
}

/// Four vectors of codes as 32 bytes in order; the packing instructions work within 128-bit halves.
template <bool is_signed>
__m256i pack(__m256i a, __m256i b, __m256i c, __m256i d) {
  const __m256i ab = _mm256_packs_epi32(a, b), cd = _mm256_packs_epi32(c, d);
  const __m256i bytes = is_signed ? _mm256_packs_epi16(ab, cd) : _mm256_packus_epi16(ab, cd);
  return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

template <bool values, bool codes, bool is_signed, bool stream, class T>
inline void quantize_32(const Quantizer& q, const T* x, T* y, uint8_t* code) {
  __m256i c[4];
  for (int i = 0; i < 4; ++i) {
    c[i] = q.code(load8(x + 8 * i));
    if constexpr (values) store8<stream>(y + 8 * i, q.value(c[i]));
  }
  if constexpr (codes)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(code), pack<is_signed>(c[0], c[1], c[2], c[3]));
}

template <bool values, bool codes, bool is_signed, bool stream, class T>
void quantize_run(const Quantizer& q, const T* x, T* y, uint8_t* code, int64_t count) {
  int64_t i = 0;
  for (; i + width <= count; i += width) {
    for (int64_t part = 0; part < width; part += 8) prefetch(x + i, part);
    quantize_32<values, codes, is_signed, stream>(q, x + i, values ? y + i : nullptr,
                                                  codes ? code + i : nullptr);
  }
  if (i == count) return;
  const auto rest = static_cast<std::size_t>(count - i);
  alignas(32) T x_rest[width] = {}, y_rest[width];
  alignas(32) uint8_t code_rest[width];
  std::memcpy(x_rest, x + i, rest * sizeof(T));
  quantize_32<values, codes, is_signed, false>(q, x_rest, y_rest, code_rest);
  if constexpr (values) std::memcpy(y + i, y_rest, rest * sizeof(T));
  if constexpr (codes) std::memcpy(code + i, code_rest, rest);
}

template <class T, bool values, bool codes, bool is_signed, bool stream>
void forward(const FakeQuantShape& s, const FakeQuantPartition& partition, const FakeQuantForwardArgs& a) {
  const auto* x = static_cast<const T*>(a.x);
  auto* y = static_cast<T*>(a.y);
  auto* code = static_cast<uint8_t*>(a.codes);  // signed codes are stored through their bytes
  const int64_t blocks = partition.blocks();
#pragma omp parallel for schedule(static) if (count(s) >= parallel_elements)
  for (int64_t block = 0; block < blocks; ++block) {
    const Quantizer q = make_quantizer(s, a.step[partition.span_of(block)]);
    partition.for_each_run(block, [&](int64_t from, int64_t to, int64_t n) {
      quantize_run<values, codes, is_signed, stream>(q, x + from, values ? y + to : nullptr,
                                                     codes ? code + to : nullptr, n);
    });
    finish_stores<stream>();
  }
}

template <class T, bool values, bool codes>
void forward(const FakeQuantShape& s, const FakeQuantForwardArgs& a) {
  const FakeQuantPartition partition(s);
  const bool stream = values && partition.dense() && streams(static_cast<T*>(a.y), count(s));
  if (s.qn > 0)
    stream ? forward<T, values, codes, true, values>(s, partition, a)
           : forward<T, values, codes, true, false>(s, partition, a);
  else
    stream ? forward<T, values, codes, false, values>(s, partition, a)
           : forward<T, values, codes, false, false>(s, partition, a);
}

template <class T>
void forward(const FakeQuantShape& s, const FakeQuantForwardArgs& a) {
  if (a.y && a.codes)
    forward<T, true, true>(s, a);
  else if (a.y)
    forward<T, true, false>(s, a);
  else if (a.codes)
    forward<T, false, true>(s, a);
}

}  // namespace

void fakequant_forward_avx2(const FakeQuantShape& s, const FakeQuantForwardArgs& a, Stream) {
  s.type == RTFQ_BF16 ? forward<bf16>(s, a) : forward<float>(s, a);
}

}  // namespace rtfq::kernels::cpu
