// ReLU and addition: bound by memory, so nothing but whole vectors and, for large results, stores past the
// caches.
#include "kernels/elementwise.h"

#include <algorithm>

#include "kernels/cpu/bf16.h"

namespace rtfq::kernels {
namespace {

using namespace rtfq::kernels::cpu;

constexpr int64_t block = 16384;

/// y[i] = f(a[i], b[i]), `f` taking vectors or floats.
template <bool stream, class T, class F>
void map_blocks(int64_t count, const T* a, const T* b, T* y, F f) {
  const int64_t blocks = (count + block - 1) / block;
#pragma omp parallel for schedule(static) if (count >= parallel_elements)
  for (int64_t n = 0; n < blocks; ++n) {
    const int64_t end = std::min(count, (n + 1) * block);
    int64_t i = n * block;
    for (; i + 8 <= end; i += 8) {
      prefetch(a, i);
      if (b != a) prefetch(b, i);
      store8<stream>(y + i, f(load8(a + i), load8(b + i)));
    }
    for (; i < end; ++i) store1(y + i, f(load1(a + i), load1(b + i)));
    finish_stores<stream>();
  }
}

template <class T, class F>
void map_typed(const ElementwiseShape& s, const void* a, const void* b, void* y, F f) {
  const auto* first = static_cast<const T*>(a);
  const auto* second = static_cast<const T*>(b);
  auto* to = static_cast<T*>(y);
  if (y != a && y != b && streams(to, s.count))
    map_blocks<true>(s.count, first, second, to, f);
  else
    map_blocks<false>(s.count, first, second, to, f);
}

template <class F>
void map(const ElementwiseShape& s, const void* a, const void* b, void* y, F f) {
  s.type == RTFQ_BF16 ? map_typed<bf16>(s, a, b, y, f) : map_typed<float>(s, a, b, y, f);
}

template <class T, class F>
void map_naive_typed(const ElementwiseShape& s, const void* a, const void* b, void* y, F f) {
  for (int64_t i = 0; i < s.count; ++i)
    store1(static_cast<T*>(y) + i,
           f(load1(static_cast<const T*>(a) + i), load1(static_cast<const T*>(b) + i)));
}

template <class F>
void map_naive(const ElementwiseShape& s, const void* a, const void* b, void* y, F f) {
  s.type == RTFQ_BF16 ? map_naive_typed<bf16>(s, a, b, y, f) : map_naive_typed<float>(s, a, b, y, f);
}

struct Relu {  // the maximum answers its second operand for a NaN
  __m256 operator()(__m256 x, __m256) const { return _mm256_max_ps(_mm256_setzero_ps(), x); }
  float operator()(float x, float) const { return x < 0.0f ? 0.0f : x; }
};

struct ReluGradient {
  __m256 operator()(__m256 g, __m256 y) const {
    return _mm256_and_ps(g, _mm256_cmp_ps(y, _mm256_setzero_ps(), _CMP_GT_OQ));
  }
  float operator()(float g, float y) const { return y > 0.0f ? g : 0.0f; }
};

struct Sum {
  __m256 operator()(__m256 a, __m256 b) const { return _mm256_add_ps(a, b); }
  float operator()(float a, float b) const { return a + b; }
};

void relu_forward(const ElementwiseShape& s, const ReluForwardArgs& a, Stream) {
  map(s, a.x, a.x, a.y, Relu{});
}
void relu_backward(const ElementwiseShape& s, const ReluBackwardArgs& a, Stream) {
  map(s, a.g, a.y, a.dx, ReluGradient{});
}
void add(const ElementwiseShape& s, const AddArgs& a, Stream) {
  map(s, a.a, a.b, a.y, Sum{});
}

void relu_forward_naive(const ElementwiseShape& s, const ReluForwardArgs& a, Stream) {
  map_naive(s, a.x, a.x, a.y, [](float x, float) { return x < 0.0f ? 0.0f : x; });
}
void relu_backward_naive(const ElementwiseShape& s, const ReluBackwardArgs& a, Stream) {
  map_naive(s, a.g, a.y, a.dx, [](float g, float y) { return y > 0.0f ? g : 0.0f; });
}
void add_naive(const ElementwiseShape& s, const AddArgs& args, Stream) {
  map_naive(s, args.a, args.b, args.y, [](float a, float b) { return a + b; });
}

const char* unsupported(const ElementwiseShape& s) {
  return s.type == RTFQ_F32 || s.type == RTFQ_BF16 ? nullptr : "takes f32 or bf16 operands";
}

}  // namespace

std::span<const ReluForward::Impl> ReluForward::cpu() {
  static constexpr Impl list[] = {{"avx2", unsupported, relu_forward},
                                  {"naive", unsupported, relu_forward_naive}};
  return list;
}
std::span<const ReluBackward::Impl> ReluBackward::cpu() {
  static constexpr Impl list[] = {{"avx2", unsupported, relu_backward},
                                  {"naive", unsupported, relu_backward_naive}};
  return list;
}
std::span<const Add::Impl> Add::cpu() {
  static constexpr Impl list[] = {{"avx2", unsupported, add}, {"naive", unsupported, add_naive}};
  return list;
}

}  // namespace rtfq::kernels
