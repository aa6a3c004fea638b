#pragma once
// Fake-quant forward: one read of x, one write of values and/or codes, at memory speed. 32 elements at a
// time, because 32 codes fill a vector; what is left of a run goes through the same code on a padded copy, so
// that there is one rounding expression. Included by the files that name instructions (fakequant_avx2.cpp).

#include "kernels/cpu/f16.h"
#include "kernels/cpu/fakequant.h"
#include "kernels/cpu/fakequant_partition.h"
#include "kernels/cpu/lanes.h"

namespace rtfq::kernels::cpu {

template <class V>
struct Quantizer {
  typename V::Floats r, step, low, high;

  RTFQ_INLINE Quantizer(const FakeQuantShape& s, float of)
      : r(V::all(1.0f / of)),
        step(V::all(of)),
        low(V::all(static_cast<float>(-s.qn))),
        high(V::all(static_cast<float>(s.qp))) {}

  /// clamp before rounding: the bounds are integers, so the order does not matter, and the conversion cannot
  /// overflow. The maximum answers its second operand for a NaN: the lowest code.
  RTFQ_INLINE typename V::Ints code(typename V::Floats x) const {
    return V::ints(V::minimum(V::maximum(V::multiply(x, r), low), high));
  }
  /// From the integer, so that a code of zero is +0 whatever sign v had.
  RTFQ_INLINE typename V::Floats value(typename V::Ints code) const {
    return V::multiply(V::floats(code), step);
  }
};

template <class V, bool values, bool codes, bool stream, class T>
RTFQ_INLINE void quantize_32(const Quantizer<V>& q, const T* x, T* y, uint8_t* code) {
  const auto run = V::load_run(x);
  const auto first = q.code(run.part[0]), second = q.code(run.part[1]);
  // A code times a step is no NaN.
  if constexpr (values) V::template store_run_finite<stream>(y, {{q.value(first), q.value(second)}});
  if constexpr (codes) write_codes<V, T>(code, first, second, 32, false);
}

template <class V, bool values, bool codes, bool stream, class T>
RTFQ_INLINE void quantize_run(const Quantizer<V>& q, const T* x, T* y, uint8_t* code, int64_t count,
                              bool two_places) {
  for_each_run_of_places(count, two_places, [&](int64_t i, int64_t n) RTFQ_INLINE_LAMBDA {
    if (n >= 32) [[likely]] {
      prefetch_run(x + i);
      quantize_32<V, values, codes, stream>(q, x + i, values ? y + i : nullptr, codes ? code + i : nullptr);
      return;
    }
    const auto rest = static_cast<std::size_t>(n);
    alignas(64) T x_rest[32] = {}, y_rest[32];
    alignas(32) uint8_t code_rest[32];
    std::memcpy(x_rest, x + i, rest * sizeof(T));
    quantize_32<V, values, codes, false>(q, x_rest, y_rest, code_rest);
    if constexpr (values) std::memcpy(y + i, y_rest, rest * sizeof(T));
    if constexpr (codes) std::memcpy(code + i, code_rest, rest);
  });
}

template <class V, class T, bool values, bool codes, bool stream>
void fakequant_forward(const FakeQuantShape& s, const FakeQuantPartition& partition,
                       const FakeQuantForwardArgs& a) {
  const auto* x = static_cast<const T*>(a.x);
  auto* y = static_cast<T*>(a.y);
  auto* code = static_cast<uint8_t*>(a.codes);  // signed codes are stored through their bytes
  const int64_t blocks = partition.blocks();
  // Of bf16 it takes 1.07 to 1.2 of the time (Granite Rapids).
  const bool two_places = sizeof(T) == 4 && reads_two_places();
#pragma omp parallel for schedule(static) if (count(s) >= parallel_elements)
  for (int64_t block = 0; block < blocks; ++block) {
    const Quantizer<V> q(s, a.step[partition.span_of(block)]);
    partition.for_each_run(block, [&](int64_t from, int64_t to, int64_t n) RTFQ_INLINE_LAMBDA {
      quantize_run<V, values, codes, stream>(q, x + from, values ? y + to : nullptr,
                                             codes ? code + to : nullptr, n, two_places);
    });
    finish_stores<stream>();
  }
}

template <class V, class T, bool values, bool codes>
void fakequant_forward(const FakeQuantShape& s, const FakeQuantForwardArgs& a) {
  const FakeQuantPartition partition(s);
  // NOLINTNEXTLINE(bugprone-branch-clone): one and the same where there are no values
  if (values && partition.dense() && streams(static_cast<T*>(a.y), count(s)))
    fakequant_forward<V, T, values, codes, values>(s, partition, a);
  else
    fakequant_forward<V, T, values, codes, false>(s, partition, a);
}

template <class V, class T>
void fakequant_forward(const FakeQuantShape& s, const FakeQuantForwardArgs& a) {
  if (a.y && a.codes)
    fakequant_forward<V, T, true, true>(s, a);
  else if (a.y)
    fakequant_forward<V, T, true, false>(s, a);
  else if (a.codes)
    fakequant_forward<V, T, false, true>(s, a);
}

}  // namespace rtfq::kernels::cpu
