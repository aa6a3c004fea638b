// Separable resize: rows are combined first (vertical pass, whole vectors over columns and channels), then
// columns (horizontal pass, eight outputs at a time with gathered sources). The row in between lives on the
// stack, in as many pieces as it needs, so that scratch memory does not grow with the number of threads;
// results do not depend on it.
#include <algorithm>
#include <cmath>
#include <cstddef>

#include "kernels/image.h"

namespace rtfq::kernels {
namespace {

/// The triangle filter of one axis: output i is the weighted sum of source pixels [begin(i), end(i)).
struct Axis {
  int64_t in, out;
  double scale, support;
  Axis(int64_t in_size, int64_t out_size, bool antialias)
      : in(in_size), out(out_size), scale(static_cast<double>(in_size) / static_cast<double>(out_size)) {
    support = antialias ? std::max(scale, 1.0) : 1.0;
  }
  double center(int64_t i) const { return (static_cast<double>(i) + 0.5) * scale; }
  int64_t begin(int64_t i) const {
    return std::max<int64_t>(static_cast<int64_t>(center(i) - support + 0.5), 0);
  }
  int64_t end(int64_t i) const { return std::min(static_cast<int64_t>(center(i) + support + 0.5), in); }
  double raw(int64_t i, int64_t j) const {
    return std::max(0.0, 1.0 - std::abs((static_cast<double>(j) + 0.5 - center(i)) / support));
  }
  double sum(int64_t i) const {
    double total = 0;
    for (int64_t j = begin(i); j < end(i); ++j) total += raw(i, j);
    return total;
  }
  int64_t max_taps() const {
    int64_t most = 1;
    for (int64_t i = 0; i < out; ++i) most = std::max(most, end(i) - begin(i));
    return most;
  }
};

constexpr int64_t stack_floats = 4096;

/// The workspace's tables. Vertical: `taps` weights an output row. Horizontal: for the output value j = q*c +
/// channel the source offset of its first tap, and weights with the tap outermost, so that eight neighbours
/// load as one vector.
struct Tables {
  int64_t vertical_taps, horizontal_taps, values;
  float *vertical, *horizontal;
  int32_t *row, *rows, *offset;  // first source row and number of rows; first source value

  Tables(const ResizeShape& s, void* workspace)
      : vertical_taps(Axis(s.h, s.p, s.antialias).max_taps()),
        horizontal_taps(Axis(s.w, s.q, s.antialias).max_taps()),
        values(s.q * s.c) {
    auto* p = static_cast<float*>(workspace);
    vertical = p;
    horizontal = vertical + s.p * vertical_taps;
    row = reinterpret_cast<int32_t*>(horizontal + values * horizontal_taps);
    rows = row + s.p;
    offset = rows + s.p;
  }
  std::size_t bytes(const ResizeShape& s) const {
    return static_cast<std::size_t>(s.p * vertical_taps + values * horizontal_taps + 2 * s.p + values) * 4;
  }
  void fill(const ResizeShape& s) const {
    const Axis y(s.h, s.p, s.antialias), x(s.w, s.q, s.antialias);
    for (int64_t p = 0; p < s.p; ++p) {
      const int64_t begin = y.begin(p), count = y.end(p) - begin;
      const double sum = y.sum(p);
      row[p] = static_cast<int32_t>(begin);
      rows[p] = static_cast<int32_t>(count);
      for (int64_t t = 0; t < count; ++t)
        vertical[p * vertical_taps + t] = static_cast<float>(y.raw(p, begin + t) / sum);
    }
    for (int64_t q = 0; q < s.q; ++q) {
      // Every output has horizontal_taps taps inside the row; those that its filter does not reach weigh
      // nothing.
      const int64_t begin = std::min(x.begin(q), s.w - horizontal_taps);
      const double sum = x.sum(q);
      for (int64_t c = 0; c < s.c; ++c) offset[q * s.c + c] = static_cast<int32_t>(begin * s.c + c);
      for (int64_t t = 0; t < horizontal_taps; ++t) {
        const int64_t j = begin + t;
        const bool inside = j >= x.begin(q) && j < x.end(q);
        const float weight = inside ? static_cast<float>(x.raw(q, j) / sum) : 0.0f;
        std::fill_n(horizontal + t * values + q * s.c, s.c, weight);
      }
    }
  }
};

void resize_row(const ResizeShape& s, const Tables& tables, const float* image, int64_t p, float* y) {
  alignas(32) float combined[stack_floats];
  const float* weights = tables.vertical + p * tables.vertical_taps;
  const int64_t row_values = s.w * s.c, tap_span = tables.horizontal_taps * s.c;
  const float* first_row = image + tables.row[p] * row_values;
  for (int64_t q0 = 0; q0 < s.q;) {
    // As many outputs as the stack holds sources for; at least one, see unsupported().
    const int64_t source = tables.offset[q0 * s.c];
    int64_t q1 = q0 + 1;
    while (q1 < s.q && tables.offset[q1 * s.c] + tap_span - source <= stack_floats) ++q1;
    const int64_t count = tables.offset[(q1 - 1) * s.c] + tap_span - source;
    const float* from = first_row + source;
    for (int64_t i = 0; i < count; ++i) combined[i] = weights[0] * from[i];
    for (int32_t t = 1; t < tables.rows[p]; ++t) {
      from += row_values;
      for (int64_t i = 0; i < count; ++i) combined[i] = __builtin_fmaf(weights[t], from[i], combined[i]);
    }
    const float* horizontal = tables.horizontal;
    for (int64_t j = q0 * s.c; j < q1 * s.c; ++j) y[j] = horizontal[j] * combined[tables.offset[j] - source];
    for (int64_t t = 1; t < tables.horizontal_taps; ++t) {
      horizontal += tables.values;
      const int64_t shift = t * s.c - source;
#pragma omp simd
      for (int64_t j = q0 * s.c; j < q1 * s.c; ++j)
        y[j] = __builtin_fmaf(horizontal[j], combined[tables.offset[j] + shift], y[j]);
    }
    q0 = q1;
  }
}

void simd(const ResizeShape& s, const ResizeArgs& a, Stream) {
  const Tables tables(s, a.workspace);
  tables.fill(s);
#pragma omp parallel for collapse(2) schedule(static)
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t p = 0; p < s.p; ++p)
      resize_row(s, tables, a.x + n * s.h * s.w * s.c, p, a.y + (n * s.p + p) * s.q * s.c);
}

std::size_t workspace(const ResizeShape& s) {
  return Tables(s, nullptr).bytes(s);
}

const char* simd_unsupported(const ResizeShape& s) {
  if (Axis(s.w, s.q, s.antialias).max_taps() * s.c > stack_floats)
    return "one output reads more than 4096 values of a row";
  if (s.w * s.c > INT32_MAX || s.h > INT32_MAX) return "offsets inside a row exceed 32 bits";
  return nullptr;
}

/// One output at a time, both axes at once, in double.
void naive(const ResizeShape& s, const ResizeArgs& a, Stream) {
  const Axis rows(s.h, s.p, s.antialias), columns(s.w, s.q, s.antialias);
#pragma omp parallel for collapse(2) schedule(static)
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t p = 0; p < s.p; ++p)
      for (int64_t q = 0; q < s.q; ++q) {
        const double norm = rows.sum(p) * columns.sum(q);
        for (int64_t c = 0; c < s.c; ++c) {
          double sum = 0;
          for (int64_t h = rows.begin(p); h < rows.end(p); ++h)
            for (int64_t w = columns.begin(q); w < columns.end(q); ++w)
              sum += rows.raw(p, h) * columns.raw(q, w) * a.x[((n * s.h + h) * s.w + w) * s.c + c];
          a.y[((n * s.p + p) * s.q + q) * s.c + c] = static_cast<float>(sum / norm);
        }
      }
}

}  // namespace

std::span<const Resize::Impl> Resize::cpu() {
  static constexpr Impl list[] = {{"simd", simd_unsupported, simd, workspace},
                                  {"naive", supports_all<Shape>, naive}};
  return list;
}

}  // namespace rtfq::kernels
