// Tensors of some hundred rows and classes: one plain version serves.
#include "kernels/answers.h"

#include <algorithm>

namespace rtfq::kernels {
namespace {

int64_t arg_max(const float* row, int64_t k) {
  return std::max_element(row, row + k) - row;
}

void pseudo_labels(const LogitsShape& s, const PseudoLabelsArgs& a, Stream) {
  for (int64_t i = 0; i < s.n; ++i) {
    const float* row = a.probabilities + i * s.k;
    const int64_t best = arg_max(row, s.k);
    a.labels[i] = static_cast<int32_t>(best);
    a.mask[i] = static_cast<double>(row[best]) > a.threshold ? 1.0f : 0.0f;
  }
}

void count_right(const LogitsShape& s, const CountRightArgs& a, Stream) {
  int64_t right = 0;
  for (int64_t i = 0; i < s.n; ++i) right += arg_max(a.z + i * s.k, s.k) == a.labels[i];
  *a.right = static_cast<float>(right);
}

void class_sums(const LogitsShape& s, const ClassSumsArgs& a, Stream) {
  std::fill_n(a.sums, s.k, 0.0f);
  for (int64_t i = 0; i < s.n; ++i)
    for (int64_t j = 0; j < s.k; ++j) a.sums[j] += a.x[i * s.k + j];
}

void mean_of(const VectorShape& s, const MeanOfArgs& a, Stream) {
  const auto tensors = static_cast<float>(a.x.size());
  for (int64_t i = 0; i < s.count; ++i) {
    float sum = 0;
    for (const float* x : a.x) sum += x[i] / tensors;
    a.y[i] = sum;
  }
}

void blend(const VectorShape& s, const BlendArgs& a, Stream) {
  for (int64_t i = 0; i < s.count; ++i)
    a.y[i] = static_cast<float>(a.keep * static_cast<double>(a.a[i]) +
                                (1 - a.keep) * (static_cast<double>(a.b[i]) / a.divisor));
}

}  // namespace

std::span<const PseudoLabels::Impl> PseudoLabels::cpu() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, pseudo_labels}};
  return list;
}
std::span<const CountRight::Impl> CountRight::cpu() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, count_right}};
  return list;
}
std::span<const ClassSums::Impl> ClassSums::cpu() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, class_sums}};
  return list;
}
std::span<const MeanOf::Impl> MeanOf::cpu() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, mean_of}};
  return list;
}
std::span<const Blend::Impl> Blend::cpu() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, blend}};
  return list;
}

}  // namespace rtfq::kernels
