#pragma once
// What kernels on lanes_avx2.h and lanes_avx512.h share.

#include <cstring>
#include <type_traits>

#include "kernels/cpu/policy.h"

namespace rtfq::kernels::cpu {

/// The sum of all lanes, the first first.
template <class V>
RTFQ_INLINE double total(const typename V::Doubles& lanes) {
  double values[V::width], sum = 0;
  V::store(values, lanes);
  for (const double value : values) sum += value;
  return sum;
}

/// Sixteen elements, or the first `n` with zeros behind them.
template <class V, bool whole, class T>
RTFQ_INLINE typename V::Floats read(const T* from, int64_t n, std::bool_constant<whole>) {
  if constexpr (whole)
    return V::load(from);
  else
    return V::load(from, n);
}

/// Stores them.
template <class V, bool stream = false, bool whole, class T>
RTFQ_INLINE void write(T* to, typename V::Floats x, int64_t n, std::bool_constant<whole>) {
  if constexpr (whole)
    V::template store<stream>(to, x);
  else
    V::store(to, x, n);
}

/// Calls f(i, whole) for each run of 32 of `count` elements, `whole` std::true_type but for the last one
/// where it is not complete.
template <class F>
RTFQ_INLINE void for_each_run_of_32(int64_t count, F&& f) {
  int64_t i = 0;
  for (; i + 32 <= count; i += 32) f(i, std::true_type{});
  if (i < count) f(i, std::false_type{});
}

/// A run at `from`; of one that is not whole the first `count` elements, zeros behind them.
template <class V, class T, bool whole>
RTFQ_INLINE typename V::Run read_run(const T* from, int64_t count, std::bool_constant<whole>) {
  if constexpr (whole) return V::load_run(from);
  alignas(64) T padded[2 * V::width] = {};
  std::memcpy(padded, from, static_cast<std::size_t>(count) * sizeof(T));
  return V::load_run(padded);
}

/// Stores a run, or the first `count` elements of one that is not whole; `exact`: nothing is to be rounded.
template <class V, bool stream, bool exact, class T, bool whole>
RTFQ_INLINE void write_run(T* to, const typename V::Run& x, int64_t count, std::bool_constant<whole>) {
  const auto store = [&]<bool streamed>(T* at) RTFQ_INLINE_LAMBDA {
    if constexpr (exact)
      V::template store_run_exact<streamed>(at, x);
    else
      V::template store_run<streamed>(at, x);
  };
  if constexpr (whole) return store.template operator()<stream>(to);
  alignas(64) T padded[2 * V::width];
  store.template operator()<false>(padded);
  std::memcpy(to, padded, static_cast<std::size_t>(count) * sizeof(T));
}

}  // namespace rtfq::kernels::cpu
