// 4-bit storage on the CPU: codes of 8 bits are the step between. What ships on the CPU is unpacked once,
// when a model is loaded (models/packed/codes.h).
#include "kernels/int4.h"

#include "kernels/cpu/conv2d_naive.h"

namespace rtfq::kernels {
namespace {

std::size_t quantize_bytes(const FakeQuantShape& s) {
  const auto& forward = choose<FakeQuantForward>(Backend::cpu, s);
  return static_cast<std::size_t>(count(s)) + forward.workspace(s);
}

void quantize(const FakeQuantShape& s, const Int4QuantizeArgs& a, Stream stream) {
  auto* codes = static_cast<uint8_t*>(a.workspace);
  choose<FakeQuantForward>(Backend::cpu, s).launch(s, {a.x, a.step, nullptr, codes}, stream);
  const int64_t lines = s.rows * s.groups, bytes = int4_bytes(s.cols);
#pragma omp parallel for schedule(static) if (count(s) >= 65536)
  for (int64_t line = 0; line < lines; ++line) {
    const uint8_t* from = codes + line * s.cols;
    uint8_t* to = a.codes + line * bytes;
    for (int64_t i = 0; i < bytes; ++i) {
      const unsigned low = from[2 * i] & 15u, high = 2 * i + 1 < s.cols ? from[2 * i + 1] & 15u : 0u;
      to[i] = static_cast<uint8_t>(low | high << 4);
    }
  }
}

std::size_t convolve_bytes(const Conv2dShape& s) {
  return static_cast<std::size_t>(s.k * s.r * s.s * s.c);
}

void convolve(const Conv2dShape& s, const Conv2dInt4Args& a, Stream stream) {
  const auto* packed = static_cast<const uint8_t*>(a.weights);
  auto* weights = static_cast<int8_t*>(a.workspace);
  const int64_t lines = s.k * s.r * s.s, bytes = int4_bytes(s.c_parent);
#pragma omp parallel for schedule(static) if (lines * s.c >= 65536)
  for (int64_t line = 0; line < lines; ++line)
    for (int64_t c = 0; c < s.c; ++c) {
      const unsigned both = packed[line * bytes + c / 2];
      weights[line * s.c + c] = static_cast<int8_t>(int4_code(c % 2 ? both >> 4 : both & 15u));
    }
  Conv2dShape dense = s;
  dense.c_parent = s.c;
  naive::conv2d_forward(dense, {a.x, weights, a.y, nullptr, a.scale}, stream);
}

const char* quantize_unsupported(const FakeQuantShape& s) {
  return unsupported_codes(Int4Quantize{}, s);
}
const char* convolve_unsupported(const Conv2dShape& s) {
  return unsupported_codes(Conv2dInt4{}, s);
}

}  // namespace

std::span<const Int4Quantize::Impl> Int4Quantize::cpu() {
  static constexpr Impl list[] = {{"naive", quantize_unsupported, quantize, quantize_bytes}};
  return list;
}
std::span<const Conv2dInt4::Impl> Conv2dInt4::cpu() {
  static constexpr Impl list[] = {{"naive", convolve_unsupported, convolve, convolve_bytes}};
  return list;
}

}  // namespace rtfq::kernels
