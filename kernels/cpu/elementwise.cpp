// The CPU's implementations of ReLU and addition, best first, and the plain ones.
#include "kernels/cpu/elementwise.h"

#include "kernels/cpu/bf16.h"
#include "kernels/cpu/features.h"

namespace rtfq::kernels {
namespace {

using cpu::load1, cpu::store1;

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

const char* avx512_unsupported(const ElementwiseShape& s) {
  return cpu::has_avx512() ? unsupported(s) : cpu::no_avx512;
}

}  // namespace

std::span<const ReluForward::Impl> ReluForward::cpu() {
  static constexpr Impl list[] = {{"avx512", avx512_unsupported, cpu::relu_forward_avx512},
                                  {"avx2", unsupported, cpu::relu_forward_avx2},
                                  {"naive", unsupported, relu_forward_naive}};
  return list;
}
std::span<const ReluBackward::Impl> ReluBackward::cpu() {
  static constexpr Impl list[] = {{"avx512", avx512_unsupported, cpu::relu_backward_avx512},
                                  {"avx2", unsupported, cpu::relu_backward_avx2},
                                  {"naive", unsupported, relu_backward_naive}};
  return list;
}
std::span<const Add::Impl> Add::cpu() {
  static constexpr Impl list[] = {{"avx512", avx512_unsupported, cpu::add_avx512},
                                  {"avx2", unsupported, cpu::add_avx2},
                                  {"naive", unsupported, add_naive}};
  return list;
}

}  // namespace rtfq::kernels
