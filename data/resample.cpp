#include "data/resample.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

namespace rtfq::data {
namespace {

/// For each output pixel: its first input pixel and its weights, `taps` apart, padded with zeros.
struct Filter {
  int taps = 0;
  std::vector<int> first, count;
  std::vector<float> weights;
};

Filter triangle(const Axis& axis, int input) {
  if (axis.full < 1 || axis.count < 1 || !(axis.length > 0))
    throw std::invalid_argument("[data] resize expects positive sizes");
  const double step = axis.length / axis.full, support = std::max(step, 1.0);
  Filter filter;
  filter.taps = std::min(static_cast<int>(std::ceil(support)) * 2 + 1, input);
  const size_t count = static_cast<size_t>(axis.count), taps = static_cast<size_t>(filter.taps);
  filter.first.resize(count);
  filter.count.resize(count);
  filter.weights.assign(count * taps, 0.0f);
  std::vector<double> exact(taps);
  for (size_t i = 0; i < count; ++i) {
    const double centre = axis.begin + (axis.first + static_cast<int>(i) + 0.5) * step;
    const int begin = std::clamp(static_cast<int>(std::floor(centre - support + 0.5)), 0, input - 1);
    const int end = std::clamp(static_cast<int>(std::floor(centre + support + 0.5)), begin + 1, input);
    const int used = std::min(end - begin, filter.taps);
    double sum = 0;
    for (int k = 0; k < used; ++k) {
      exact[static_cast<size_t>(k)] = std::max(0.0, 1.0 - std::abs((begin + k + 0.5 - centre) / support));
      sum += exact[static_cast<size_t>(k)];
    }
    if (!(sum > 0)) {  // a centre outside the image, on the edge of its last pixel's support
      exact[0] = sum = 1;
    }
    filter.first[i] = begin;
    filter.count[i] = used;
    for (int k = 0; k < used; ++k)
      filter.weights[i * taps + static_cast<size_t>(k)] =
          static_cast<float>(exact[static_cast<size_t>(k)] / sum);
  }
  return filter;
}

uint8_t to_byte(float value) {
  return static_cast<uint8_t>(std::clamp(value + 0.5f, 0.0f, 255.0f));
}

template <int C>
void horizontal(const float* row, const Filter& filter, int base, uint8_t* out) {
  for (size_t i = 0; i < filter.first.size(); ++i, out += C) {
    const float* weight = filter.weights.data() + i * static_cast<size_t>(filter.taps);
    const float* in = row + (filter.first[i] - base) * C;
    float sum[C] = {};
    for (int k = 0; k < filter.count[i]; ++k)
      for (int c = 0; c < C; ++c) sum[c] += weight[k] * in[k * C + c];
    for (int c = 0; c < C; ++c) out[c] = to_byte(sum[c]);
  }
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

Image resample(const Image& image, const Axis& y, const Axis& x) {
  Image out = blank(image, y.count, x.count);
  const Filter rows = triangle(y, image.height), columns = triangle(x, image.width);
  // Vertically first, over the columns that are needed: long contiguous sums that the compiler vectorises.
  int base = image.width, end = 0;
  for (size_t i = 0; i < columns.first.size(); ++i) {
    base = std::min(base, columns.first[i]);
    end = std::max(end, columns.first[i] + columns.count[i]);
  }
  std::vector<float> row(static_cast<size_t>(end - base) * static_cast<size_t>(image.channels));
  for (size_t i = 0; i < rows.first.size(); ++i) {
    std::fill(row.begin(), row.end(), 0.0f);
    for (int k = 0; k < rows.count[i]; ++k) {
      const float weight = rows.weights[i * static_cast<size_t>(rows.taps) + static_cast<size_t>(k)];
      const uint8_t* in = image.pixels.data() + image.offset(rows.first[i] + k, base);
      for (size_t j = 0; j < row.size(); ++j) row[j] += weight * static_cast<float>(in[j]);
    }
    uint8_t* target = out.pixels.data() + out.offset(static_cast<int>(i), 0);
    if (image.channels == 1)
      horizontal<1>(row.data(), columns, base, target);
    else
      horizontal<3>(row.data(), columns, base, target);
  }
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
