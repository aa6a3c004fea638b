// Fake-quant as the header's formulas read, one element at a time.
#include <cmath>

#include "kernels/cpu/f16.h"
#include "kernels/cpu/fakequant.h"

namespace rtfq::kernels::cpu {
namespace {

/// Calls f(offset in x, dense offset) for each element of one row.
template <class F>
void for_row(const FakeQuantShape& s, int64_t row, F&& f) {
  for (int64_t group = 0; group < s.groups; ++group)
    for (int64_t col = 0; col < s.cols; ++col)
      f(row * s.row_stride + group * s.group_stride + col, (row * s.groups + group) * s.cols + col);
}

int32_t code_of(float v, const FakeQuantShape& s) {
  if (!(v > static_cast<float>(-s.qn))) return -s.qn;
  if (v >= static_cast<float>(s.qp)) return s.qp;
  return static_cast<int32_t>(std::nearbyintf(v));
}

/// dv code / ds: the clamped bound, or the rounding error.
float step_slope(float v, const FakeQuantShape& s) {
  if (!(v > static_cast<float>(-s.qn))) return static_cast<float>(-s.qn);
  if (v >= static_cast<float>(s.qp)) return static_cast<float>(s.qp);
  return std::nearbyintf(v) - v;
}

template <class T>
void forward(const FakeQuantShape& s, const FakeQuantForwardArgs& a) {
  const auto* x = static_cast<const T*>(a.x);
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < s.rows; ++row) {
    const float step = a.step[s.per_row ? row : 0], r = 1.0f / step;
    for_row(s, row, [&](int64_t from, int64_t to) {
      const int32_t code = code_of(load1(x + from) * r, s);
      // Zero by name: GCC 12 turns the conversion to and from integers into a truncation, which keeps the
      // sign of zero.
      if (a.y) store1(static_cast<T*>(a.y) + to, code == 0 ? 0.0f : static_cast<float>(code) * step);
      if (a.codes && s.qn > 0) static_cast<int8_t*>(a.codes)[to] = static_cast<int8_t>(code);
      if (a.codes && s.qn == 0) static_cast<uint8_t*>(a.codes)[to] = static_cast<uint8_t>(code);
    });
  }
}

template <class T>
void backward(const FakeQuantShape& s, const FakeQuantBackwardArgs& a) {
  const auto* x = static_cast<const T*>(a.x);
  const auto* g = static_cast<const T*>(a.g);
  auto* dx = static_cast<T*>(a.dx);
  double sum = 0;
  for (int64_t row = 0; row < s.rows; ++row) {
    const float r = 1.0f / a.step[s.per_row ? row : 0];
    for_row(s, row, [&](int64_t at, int64_t from) {
      const float v = load1(x + at) * r, gradient = load1(g + from);
      sum += static_cast<double>(gradient) * static_cast<double>(step_slope(v, s));
      if (!dx) return;
      const bool inside = v > static_cast<float>(-s.qn) && v < static_cast<float>(s.qp);
      const float passed = inside ? gradient : 0.0f;
      store1(dx + at, a.accumulate_dx ? load1(dx + at) + passed : passed);
    });
    if (s.per_row || row == s.rows - 1) {
      if (a.ds) a.ds[s.per_row ? row : 0] += static_cast<float>(sum * static_cast<double>(a.grad_scale));
      sum = 0;
    }
  }
}

template <class T>
void abs_sum(const FakeQuantShape& s, const AbsSumArgs& a) {
  const auto* x = static_cast<const T*>(a.x);
  double sum = 0;
  for (int64_t row = 0; row < s.rows; ++row) {
    for_row(s, row, [&](int64_t at, int64_t) {
      const float value = load1(x + at);
      sum += static_cast<double>(s.qn == 0 ? (value < 0.0f ? 0.0f : value) : std::fabs(value));
    });
    if (s.per_row || row == s.rows - 1) {
      a.out[s.per_row ? row : 0] = static_cast<float>(sum);
      sum = 0;
    }
  }
}

}  // namespace

void fakequant_forward_naive(const FakeQuantShape& s, const FakeQuantForwardArgs& a, Stream) {
  with_element(s, [&](auto one) { forward<decltype(one)>(s, a); });
}
void fakequant_backward_naive(const FakeQuantShape& s, const FakeQuantBackwardArgs& a, Stream) {
  with_element(s, [&](auto one) { backward<decltype(one)>(s, a); });
}
void abs_sum_naive(const FakeQuantShape& s, const AbsSumArgs& a, Stream) {
  with_element(s, [&](auto one) { abs_sum<decltype(one)>(s, a); });
}

}  // namespace rtfq::kernels::cpu
