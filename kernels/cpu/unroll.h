#pragma once
// The codes that an output pixel of a convolution sees, as one row (im2col).

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/policy.h"
#include "kernels/shapes.h"

namespace rtfq::kernels::cpu {

/// The codes of output pixel `pixel` of all images, in the order of the filter, to [row, end): zeros outside
/// of the image and behind the last. copy(from, to, count) copies a run of them.
template <class X, class Y, class Copy>
RTFQ_INLINE void unroll(const Conv2dShape& z, const X* x, int64_t pixel, Y* row, Y* end, const Copy& copy) {
  const int64_t P = output_height(z), Q = output_width(z);
  const int64_t q = pixel % Q, p = pixel / Q % P, n = pixel / Q / P;
  const int64_t w0 = q * z.stride - z.pad;
  const int64_t first = std::clamp<int64_t>(-w0, 0, z.s), last = std::clamp<int64_t>(z.w - w0, first, z.s);
  Y* to = row;
  for (int64_t r = 0; r < z.r; ++r, to += z.s * z.c) {
    const int64_t h = p * z.stride - z.pad + r;
    if (h < 0 || h >= z.h || first == last) {
      std::fill_n(to, z.s * z.c, Y{0});
      continue;
    }
    std::fill_n(to, first * z.c, Y{0});
    copy(x + ((n * z.h + h) * z.w + w0 + first) * z.c, to + first * z.c, (last - first) * z.c);
    std::fill_n(to + last * z.c, (z.s - last) * z.c, Y{0});
  }
  std::fill(to, end, Y{0});
}

}  // namespace rtfq::kernels::cpu
