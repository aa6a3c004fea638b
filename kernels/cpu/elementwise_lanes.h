#pragma once
// ReLU and addition: bound by memory, so nothing but whole vectors and, for large results, stores past the
// caches. Included by the files that name instructions (elementwise_avx2.cpp).

#include <algorithm>

#include "kernels/cpu/bf16.h"
#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/lanes.h"

namespace rtfq::kernels::cpu {

template <class V>
struct Relu {  // the maximum answers its second operand for a NaN
  static constexpr bool exact = true;
  RTFQ_INLINE typename V::Floats operator()(typename V::Floats x, typename V::Floats) const {
    return V::maximum(V::all(0.0f), x);
  }
};

template <class V>
struct ReluGradient {
  static constexpr bool exact = true;
  RTFQ_INLINE typename V::Floats operator()(typename V::Floats g, typename V::Floats y) const {
    return V::where(V::less(V::all(0.0f), y), g);
  }
};

template <class V>
struct Sum {
  static constexpr bool exact = false;
  RTFQ_INLINE typename V::Floats operator()(typename V::Floats a, typename V::Floats b) const {
    return V::add(a, b);
  }
};

/// y[i] = f(a[i], b[i]).
template <class V, bool stream, class T, class F>
void map(int64_t count, const T* a, const T* b, T* y, F f) {
  constexpr int64_t block = 16384;
  const int64_t blocks = (count + block - 1) / block;
  const bool two_places = b == a && reads_two_places();
#pragma omp parallel for schedule(static) if (count >= parallel_elements)
  for (int64_t n = 0; n < blocks; ++n) {
    const int64_t first = n * block;
    const auto one = [&](int64_t i, int64_t rest) RTFQ_INLINE_LAMBDA {
      const int64_t at = first + i;
      prefetch_run(a + at);
      if (b != a) prefetch_run(b + at);
      const auto of_a = read_run<V>(a + at, rest), of_b = read_run<V>(b + at, rest);
      write_run<V, F::exact>(y + at, {{f(of_a.part[0], of_b.part[0]), f(of_a.part[1], of_b.part[1])}}, rest,
                             stream);
    };
    for_each_run_of_places(std::min(block, count - first), two_places, one);
    finish_stores<stream>();
  }
}

template <class V, class T, class F>
void map_typed(const ElementwiseShape& s, const void* a, const void* b, void* y, F f) {
  const auto* first = static_cast<const T*>(a);
  const auto* second = static_cast<const T*>(b);
  auto* to = static_cast<T*>(y);
  if (y != a && y != b && streams(to, s.count))
    map<V, true>(s.count, first, second, to, f);
  else
    map<V, false>(s.count, first, second, to, f);
}

template <class V, class F>
void map(const ElementwiseShape& s, const void* a, const void* b, void* y, F f) {
  s.type == RTFQ_BF16 ? map_typed<V, bf16>(s, a, b, y, f) : map_typed<V, float>(s, a, b, y, f);
}

}  // namespace rtfq::kernels::cpu
