// Small tensors: pooled features and steps. The first values of a residual's step are taken from a large one,
// once.
#include "kernels/codes.h"

namespace rtfq::kernels {
namespace {

template <class T>
void dequantize_typed(const DequantizeShape& s, const DequantizeArgs& a) {
  const auto* codes = static_cast<const T*>(a.codes);
#pragma omp parallel for schedule(static) if (s.rows * s.inner >= 65536)
  for (int64_t i = 0; i < s.rows * s.inner; ++i)
    a.y[i] = a.step[s.rows == 1 ? 0 : i / s.inner] * static_cast<float>(codes[i]);
}

void dequantize(const DequantizeShape& s, const DequantizeArgs& a, Stream) {
  s.type == RTFQ_U8 ? dequantize_typed<uint8_t>(s, a) : dequantize_typed<int8_t>(s, a);
}

void scale_product(const ScaleProductShape& s, const ScaleProductArgs& a, Stream) {
  for (int64_t i = 0; i < s.count; ++i) a.out[i] = a.a[0] * a.b[s.single ? 0 : i];
}

}  // namespace

std::span<const Dequantize::Impl> Dequantize::cpu() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, dequantize}};
  return list;
}
std::span<const ScaleProduct::Impl> ScaleProduct::cpu() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, scale_product}};
  return list;
}

}  // namespace rtfq::kernels
