#include "data/resample.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <vector>

namespace rtfq::data {
namespace {

/// Of a weight; an accumulator of 32 bits then holds any sum of bytes times weights.
constexpr int fraction_bits = 22;

/// For each output pixel: its first input pixel and its weights in fixed point, `taps` apart, padded with
/// zeros.
struct Weights {
  int taps = 0;
  std::vector<int> first, count;
  std::vector<int32_t> values;

  const int32_t* of(size_t i) const { return values.data() + i * static_cast<size_t>(taps); }
};

double support_of(Filter filter) {
  return filter == Filter::bicubic ? 2.0 : 1.0;
}

/// The filter at a distance in output pixels (of a reduction) or input pixels (of an enlargement).
double value_at(Filter filter, double distance) {
  const double d = std::abs(distance);
  if (filter == Filter::bilinear) return std::max(0.0, 1.0 - d);
  // Keys, "Cubic convolution interpolation" (1981), with a = -1/2.
  constexpr double a = -0.5;
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0.0;
}

Weights weights_of(const Axis& axis, int input, Filter filter) {
  if (axis.full < 1 || axis.count < 1 || !(axis.length > 0))
    throw std::invalid_argument("[data] resize expects positive sizes");
  const double step = axis.length / axis.full, stretch = std::max(step, 1.0);
  const double support = support_of(filter) * stretch, narrow = 1.0 / stretch;
  Weights weights;
  weights.taps = std::min(static_cast<int>(std::ceil(support)) * 2 + 1, input);
  const size_t count = static_cast<size_t>(axis.count), taps = static_cast<size_t>(weights.taps);
  weights.first.resize(count);
  weights.count.resize(count);
  weights.values.assign(count * taps, 0);
  std::vector<double> exact(taps);
  // Nothing outside the interval is read: cutting first and resizing then gives the same.
  const int low = std::clamp(static_cast<int>(std::floor(axis.begin)), 0, input - 1);
  const int high = std::clamp(static_cast<int>(std::ceil(axis.begin + axis.length)), low + 1, input);
  for (size_t i = 0; i < count; ++i) {
    const double centre = axis.begin + (axis.first + static_cast<int>(i) + 0.5) * step;
    const int begin = std::clamp(static_cast<int>(std::floor(centre - support + 0.5)), low, high - 1);
    const int end = std::clamp(static_cast<int>(std::floor(centre + support + 0.5)), begin + 1, high);
    const int used = std::min(end - begin, weights.taps);
    double sum = 0;
    for (int k = 0; k < used; ++k)
      sum += exact[static_cast<size_t>(k)] = value_at(filter, (k + begin - centre + 0.5) * narrow);
    if (sum == 0) {  // a centre outside the image, on the edge of its last pixel's support
      exact[0] = sum = 1;
    }
    weights.first[i] = begin;
    weights.count[i] = used;
    for (int k = 0; k < used; ++k) {
      const double scaled = exact[static_cast<size_t>(k)] / sum * (1 << fraction_bits);
      weights.values[i * taps + static_cast<size_t>(k)] =
          static_cast<int32_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
    }
  }
  return weights;
}

uint8_t rounded(int32_t sum) {
  return static_cast<uint8_t>(std::clamp(sum >> fraction_bits, 0, 255));
}

constexpr int32_t half = 1 << (fraction_bits - 1);

uint8_t to_byte(float value) {
  return static_cast<uint8_t>(std::clamp(value + 0.5f, 0.0f, 255.0f));
}

template <int C>
void along_row(const uint8_t* row, const Weights& weights, uint8_t* out) {
  for (size_t i = 0; i < weights.first.size(); ++i, out += C) {
    const int32_t* weight = weights.of(i);
    const uint8_t* in = row + weights.first[i] * C;
    int32_t sum[C];
    for (int c = 0; c < C; ++c) sum[c] = half;
    for (int k = 0; k < weights.count[i]; ++k)
      for (int c = 0; c < C; ++c) sum[c] += weight[k] * in[k * C + c];
    for (int c = 0; c < C; ++c) out[c] = rounded(sum[c]);
  }
}

/// Rows [weights.first..] of `rows`, each `length` bytes; `sums` is scratch.
void along_column(const uint8_t* rows, size_t length, const int32_t* weight, int count, int32_t* sums,
                  uint8_t* out) {
  std::fill(sums, sums + length, half);
  for (int k = 0; k < count; ++k, rows += length)
    for (size_t j = 0; j < length; ++j) sums[j] += weight[k] * rows[j];
  for (size_t j = 0; j < length; ++j) out[j] = rounded(sums[j]);
}

template <int C>
void bilinear(const Image& image, const Affine& map, Image& out) {
  const int right = image.width - 1, bottom = image.height - 1;
  uint8_t* target = out.pixels.data();
  for (int y = 0; y < out.height; ++y)
    for (int x = 0; x < out.width; ++x, target += C) {
      const double u = map.xx * (x + 0.5) + map.xy * (y + 0.5) + map.x0 - 0.5;
      const double v = map.yx * (x + 0.5) + map.yy * (y + 0.5) + map.y0 - 0.5;
      const double cu = std::clamp(u, 0.0, static_cast<double>(right));
      const double cv = std::clamp(v, 0.0, static_cast<double>(bottom));
      const int x0 = static_cast<int>(cu), y0 = static_cast<int>(cv);
      const int x1 = std::min(x0 + 1, right), y1 = std::min(y0 + 1, bottom);
      const float fx = static_cast<float>(cu - x0), fy = static_cast<float>(cv - y0);
      const uint8_t* a = image.pixels.data() + image.offset(y0, x0);
      const uint8_t* b = image.pixels.data() + image.offset(y0, x1);
      const uint8_t* c = image.pixels.data() + image.offset(y1, x0);
      const uint8_t* d = image.pixels.data() + image.offset(y1, x1);
      for (int k = 0; k < C; ++k) {
        const float top = static_cast<float>(a[k]) + fx * static_cast<float>(b[k] - a[k]);
        const float low = static_cast<float>(c[k]) + fx * static_cast<float>(d[k] - c[k]);
        target[k] = to_byte(top + fy * (low - top));
      }
    }
}

Image blank(const Image& like, int height, int width) {
  if (height < 1 || width < 1 || like.height < 1 || like.width < 1 ||
      (like.channels != 1 && like.channels != 3))
    throw std::invalid_argument(
        "[data] resampling expects images of 1 or 3 channels and positive sizes, got " +
        std::to_string(like.height) + " x " + std::to_string(like.width) + " x " +
        std::to_string(like.channels) + " to " + std::to_string(height) + " x " + std::to_string(width));
  Image out{height, width, like.channels, {}};
  out.pixels.resize(out.offset(height, 0));
  return out;
}

}  // namespace

Image resample(const Image& image, const Axis& y, const Axis& x, Filter filter) {
  Image out = blank(image, y.count, x.count);
  const Weights rows = weights_of(y, image.height, filter), columns = weights_of(x, image.width, filter);
  int top = image.height, bottom = 0;  // input rows that are needed
  for (size_t i = 0; i < rows.first.size(); ++i) {
    top = std::min(top, rows.first[i]);
    bottom = std::max(bottom, rows.first[i] + rows.count[i]);
  }
  const size_t length = out.offset(0, out.width);
  std::vector<uint8_t> narrow(static_cast<size_t>(bottom - top) * length);
  for (int row = top; row < bottom; ++row) {
    const uint8_t* in = image.pixels.data() + image.offset(row, 0);
    uint8_t* target = narrow.data() + static_cast<size_t>(row - top) * length;
    if (image.channels == 1)
      along_row<1>(in, columns, target);
    else
      along_row<3>(in, columns, target);
  }
  std::vector<int32_t> sums(length);
  for (size_t i = 0; i < rows.first.size(); ++i)
    along_column(narrow.data() + static_cast<size_t>(rows.first[i] - top) * length, length, rows.of(i),
                 rows.count[i], sums.data(), out.pixels.data() + i * length);
  return out;
}

Affine compose(const Affine& second, const Affine& first) {
  return {second.xx * first.xx + second.xy * first.yx,
          second.xx * first.xy + second.xy * first.yy,
          second.xx * first.x0 + second.xy * first.y0 + second.x0,
          second.yx * first.xx + second.yy * first.yx,
          second.yx * first.xy + second.yy * first.yy,
          second.yx * first.x0 + second.yy * first.y0 + second.y0};
}

Image sample_affine(const Image& image, const Affine& map, int height, int width) {
  Image out = blank(image, height, width);
  if (image.channels == 1)
    bilinear<1>(image, map, out);
  else
    bilinear<3>(image, map, out);
  return out;
}

}  // namespace rtfq::data
