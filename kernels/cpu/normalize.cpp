// Bytes to normalized floats: one read and one write, limited by memory.
#include <algorithm>
#include <cmath>

#include "kernels/image.h"

namespace rtfq::kernels {
namespace {

/// Both factors of the header's formula, rounded once to f32.
struct Factors {
  float scale, shift;
};

Factors factors(const NormalizeArgs& a, int64_t c) {
  const double deviation = a.deviation[c];
  return {static_cast<float>(1.0 / (255.0 * deviation)),
          static_cast<float>(-static_cast<double>(a.mean[c]) / deviation)};
}

constexpr int64_t max_channels = 64;
constexpr int64_t pixels_per_tile = 8;

/// The factors of eight pixels lie side by side, so that whatever the channel count whole vectors are
/// processed.
void simd(const ResizeShape& s, const NormalizeArgs& a, Stream) {
  alignas(32) float scale[max_channels * pixels_per_tile], shift[max_channels * pixels_per_tile];
  const int64_t tile = s.c * pixels_per_tile;
  for (int64_t c = 0; c < s.c; ++c) {
    const Factors f = factors(a, c);
    for (int64_t i = c; i < tile; i += s.c) scale[i] = f.scale, shift[i] = f.shift;
  }
  const int64_t total = s.n * s.h * s.w * s.c, tiles = (total + tile - 1) / tile;
#pragma omp parallel for schedule(static)
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t begin = t * tile, count = std::min(tile, total - begin);
    const uint8_t* from = a.x + begin;
    float* to = a.y + begin;
#pragma omp simd
    for (int64_t i = 0; i < count; ++i)
      to[i] = __builtin_fmaf(static_cast<float>(from[i]), scale[i], shift[i]);
  }
}

void naive(const ResizeShape& s, const NormalizeArgs& a, Stream) {
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < s.n * s.h * s.w; ++i)
    for (int64_t c = 0; c < s.c; ++c) {
      const Factors f = factors(a, c);
      a.y[i * s.c + c] = std::fma(static_cast<float>(a.x[i * s.c + c]), f.scale, f.shift);
    }
}

const char* simd_unsupported(const ResizeShape& s) {
  return s.c <= max_channels ? nullptr : "takes at most 64 channels";
}

}  // namespace

std::span<const Normalize::Impl> Normalize::cpu() {
  static constexpr Impl list[] = {{"simd", simd_unsupported, simd}, {"naive", supports_all<Shape>, naive}};
  return list;
}

}  // namespace rtfq::kernels
