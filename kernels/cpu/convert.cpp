// Conversion between types: a pass at memory speed. Widening codes and bf16 changes no value; f32 to bf16
// rounds.
#include <algorithm>

#include "kernels/cpu/bf16.h"
#include "kernels/cpu/convert_codes.h"
#include "kernels/elementwise.h"

namespace rtfq::kernels {
namespace {

using namespace rtfq::kernels::cpu;

template <bool stream, class X, class Y>
void convert_floats(const X* x, Y* y, int64_t count) {
  constexpr int64_t block = 16384;
  const int64_t blocks = (count + block - 1) / block;
#pragma omp parallel for schedule(static) if (count >= parallel_elements)
  for (int64_t n = 0; n < blocks; ++n) {
    const int64_t end = std::min(count, (n + 1) * block);
    int64_t i = n * block;
    for (; i + 8 <= end; i += 8) store8<stream>(y + i, load8(x + i));
    for (; i < end; ++i) store1(y + i, load1(x + i));
    finish_stores<stream>();
  }
}

template <class Y>
void convert_to(const ConvertShape& s, const ConvertArgs& a) {
  auto* y = static_cast<Y*>(a.y);
  const auto floats = [&](const auto* x) {
    streams(y, s.count) ? convert_floats<true>(x, y, s.count) : convert_floats<false>(x, y, s.count);
  };
  switch (s.from) {
    case RTFQ_U8:
      return convert_codes(static_cast<const uint8_t*>(a.x), y, s.count);
    case RTFQ_S8:
      return convert_codes(static_cast<const int8_t*>(a.x), y, s.count);
    case RTFQ_BF16:
      return floats(static_cast<const bf16*>(a.x));
    default:
      return floats(static_cast<const float*>(a.x));
  }
}

void convert(const ConvertShape& s, const ConvertArgs& a, Stream) {
  s.to == RTFQ_BF16 ? convert_to<bf16>(s, a) : convert_to<float>(s, a);
}

float value(const ConvertShape& s, const void* x, int64_t i) {
  switch (s.from) {
    case RTFQ_U8:
      return static_cast<const uint8_t*>(x)[i];
    case RTFQ_S8:
      return static_cast<const int8_t*>(x)[i];
    case RTFQ_BF16:
      return to_float(static_cast<const bf16*>(x)[i]);
    default:
      return static_cast<const float*>(x)[i];
  }
}

void convert_naive(const ConvertShape& s, const ConvertArgs& a, Stream) {
  for (int64_t i = 0; i < s.count; ++i)
    if (s.to == RTFQ_BF16)
      static_cast<bf16*>(a.y)[i] = kernels::to_bf16(value(s, a.x, i));
    else
      static_cast<float*>(a.y)[i] = value(s, a.x, i);
}

const char* unsupported(const ConvertShape& s) {
  const bool from = s.from == RTFQ_F32 || s.from == RTFQ_BF16 || s.from == RTFQ_U8 || s.from == RTFQ_S8;
  const bool to = s.to == RTFQ_F32 || s.to == RTFQ_BF16;
  return from && to ? nullptr : "takes f32, bf16, u8 or s8 to f32 or bf16";
}

}  // namespace

std::span<const Convert::Impl> Convert::cpu() {
  static constexpr Impl list[] = {{"avx2", unsupported, convert}, {"naive", unsupported, convert_naive}};
  return list;
}

}  // namespace rtfq::kernels
