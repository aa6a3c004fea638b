// The three sums of kernels/shapes.h, term by term in double.
#include "kernels/catalog/conv2d_reference.h"

#include "kernels/philox.h"

namespace rtfq::kernels::catalog {
namespace {

/// Walks all (output pixel, filter tap) pairs that meet inside the image, for one image: body(p, q, r, s, h,
/// w).
template <class Body>
void for_each_tap(const Conv2dShape& z, int64_t p, const Body& body) {
  for (int64_t q = 0; q < output_width(z); ++q)
    for (int64_t r = 0; r < z.r; ++r)
      for (int64_t s = 0; s < z.s; ++s) {
        const int64_t h = p * z.stride - z.pad + r, w = q * z.stride - z.pad + s;
        if (h >= 0 && h < z.h && w >= 0 && w < z.w) body(q, r, s, h, w);
      }
}

int64_t weight_at(const Conv2dShape& z, int64_t k, int64_t r, int64_t s) {
  return ((k * z.r + r) * z.s + s) * z.c_parent;
}

}  // namespace

std::size_t conv2d_count_x(const Conv2dShape& s) {
  return static_cast<std::size_t>(s.n * s.h * s.w * s.c);
}
std::size_t conv2d_count_y(const Conv2dShape& s) {
  return static_cast<std::size_t>(s.n * output_height(s) * output_width(s) * s.k);
}

std::vector<std::size_t> conv2d_slice(const Conv2dShape& s) {
  std::vector<std::size_t> places;
  for (int64_t i = 0; i < s.k * s.r * s.s; ++i)
    for (int64_t c = 0; c < s.c; ++c) places.push_back(static_cast<std::size_t>(i * s.c_parent + c));
  return places;
}

std::vector<float> codes_between(int low, int high, std::size_t count, uint64_t seed, bool extreme) {
  const auto range = static_cast<uint32_t>(high - low + 1);
  std::vector<float> values;
  for (std::size_t i = 0; i < count; ++i) {
    const uint32_t drawn = philox4x32(seed, i, 2)[0];
    values.push_back(static_cast<float>(!extreme          ? low + static_cast<int>(drawn % range)
                                        : drawn % 16 == 0 ? low
                                                          : high));
  }
  return values;
}

void scale_sums(std::span<float> scale, std::vector<double>* sums, const std::vector<std::size_t>& at) {
  for (std::size_t k = 0; k < scale.size(); ++k) scale[k] = 0.00137f * static_cast<float>(k % 7 + 1);
  // f32(sum), then the product, whose 48 bits a double holds.
  for (std::size_t i = 0; i < sums->size(); ++i)
    (*sums)[i] = static_cast<double>(static_cast<float>((*sums)[i])) *
                 static_cast<double>(scale[(at.empty() ? i : at[i]) % scale.size()]);
}

std::vector<double> conv2d_reference_forward(const Conv2dShape& z, const float* x, const float* weights) {
  const int64_t P = output_height(z), Q = output_width(z);
  std::vector<double> y(static_cast<std::size_t>(z.n * P * Q * z.k), 0.0);
#pragma omp parallel for collapse(2) schedule(static)
  for (int64_t n = 0; n < z.n; ++n)
    for (int64_t p = 0; p < P; ++p)
      for_each_tap(z, p, [&](int64_t q, int64_t r, int64_t s, int64_t h, int64_t w) {
        const float* from = x + ((n * z.h + h) * z.w + w) * z.c;
        double* to = y.data() + ((n * P + p) * Q + q) * z.k;
        for (int64_t k = 0; k < z.k; ++k) {
          const float* filter = weights + weight_at(z, k, r, s);
          double sum = 0;
#pragma omp simd reduction(+ : sum)
          for (int64_t c = 0; c < z.c; ++c)
            sum += static_cast<double>(from[c]) * static_cast<double>(filter[c]);
          to[k] += sum;
        }
      });
  return y;
}

std::vector<double> conv2d_reference_forward(const Conv2dShape& s, const float* x, const float* weights,
                                             const std::vector<std::size_t>& at) {
  if (at.empty()) return conv2d_reference_forward(s, x, weights);
  const int64_t P = output_height(s), Q = output_width(s);
  std::vector<double> sums;
  for (const std::size_t i : at) {
    const auto index = static_cast<int64_t>(i);
    const int64_t k = index % s.k, q = index / s.k % Q, p = index / s.k / Q % P, n = index / s.k / Q / P;
    double sum = 0;
    for (int64_t r = 0; r < s.r; ++r)
      for (int64_t col = 0; col < s.s; ++col) {
        const int64_t h = p * s.stride - s.pad + r, w = q * s.stride - s.pad + col;
        if (h < 0 || h >= s.h || w < 0 || w >= s.w) continue;
        const float *from = x + ((n * s.h + h) * s.w + w) * s.c, *filter = weights + weight_at(s, k, r, col);
        for (int64_t c = 0; c < s.c; ++c)
          sum += static_cast<double>(from[c]) * static_cast<double>(filter[c]);
      }
    sums.push_back(sum);
  }
  return sums;
}

std::vector<double> conv2d_reference_dgrad(const Conv2dShape& z, const float* g, const float* weights) {
  const int64_t P = output_height(z), Q = output_width(z);
  std::vector<double> dx(static_cast<std::size_t>(z.n * z.h * z.w * z.c), 0.0);
#pragma omp parallel for schedule(static)
  for (int64_t n = 0; n < z.n; ++n)
    for (int64_t p = 0; p < P; ++p)
      for_each_tap(z, p, [&](int64_t q, int64_t r, int64_t s, int64_t h, int64_t w) {
        const float* from = g + ((n * P + p) * Q + q) * z.k;
        double* to = dx.data() + ((n * z.h + h) * z.w + w) * z.c;
        for (int64_t k = 0; k < z.k; ++k) {
          const float* filter = weights + weight_at(z, k, r, s);
          const double gradient = from[k];
          for (int64_t c = 0; c < z.c; ++c) to[c] += gradient * static_cast<double>(filter[c]);
        }
      });
  return dx;
}

void conv2d_reference_wgrad(const Conv2dShape& z, const float* x, const float* g, std::vector<double>* dw) {
  const int64_t P = output_height(z), Q = output_width(z);
#pragma omp parallel for schedule(static)
  for (int64_t k = 0; k < z.k; ++k)
    for (int64_t n = 0; n < z.n; ++n)
      for (int64_t p = 0; p < P; ++p)
        for_each_tap(z, p, [&](int64_t q, int64_t r, int64_t s, int64_t h, int64_t w) {
          const double gradient = g[((n * P + p) * Q + q) * z.k + k];
          const float* from = x + ((n * z.h + h) * z.w + w) * z.c;
          double* to = dw->data() + weight_at(z, k, r, s);
          for (int64_t c = 0; c < z.c; ++c) to[c] += gradient * static_cast<double>(from[c]);
        });
}

}  // namespace rtfq::kernels::catalog
