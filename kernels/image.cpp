#include "kernels/image.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace rtfq::kernels {
namespace {

void require_positive(const char* what, int64_t value) {
  if (value < 1)
    throw std::invalid_argument(std::string("[resize] expected a positive ") + what + ", got " +
                                std::to_string(value) + ": an empty image cannot be resized");
}

/// Source pixels under the triangle filter, on average over the inside of the image.
double taps(int64_t in, int64_t out, bool antialias) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  return std::min(2 * (antialias ? std::max(scale, 1.0) : 1.0), static_cast<double>(in));
}

}  // namespace

ResizeShape make_resize_shape(int64_t n, int64_t h, int64_t w, int64_t c, int64_t p, int64_t q,
                              bool antialias) {
  require_positive("number of images", n);
  require_positive("input height", h);
  require_positive("input width", w);
  require_positive("number of channels", c);
  require_positive("output height", p);
  require_positive("output width", q);
  return {n, h, w, c, p, q, antialias ? 1 : 0};
}

Cost cost(const Normalize&, const ResizeShape& s) {
  const double count = static_cast<double>(s.n) * s.h * s.w * s.c;
  return {5 * count, 2 * count};
}

Cost cost(const Resize&, const ResizeShape& s) {
  const double images = static_cast<double>(s.n) * s.c;
  const double vertical = static_cast<double>(s.p) * s.w * taps(s.h, s.p, s.antialias);
  const double horizontal = static_cast<double>(s.p) * s.q * taps(s.w, s.q, s.antialias);
  return {4 * images * (static_cast<double>(s.h) * s.w + static_cast<double>(s.p) * s.q),
          2 * images * (vertical + horizontal)};
}

}  // namespace rtfq::kernels
