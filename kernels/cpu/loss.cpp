// Softmax and losses. Their tensors are tiny beside the network's (at most some hundred rows and classes), so
// that one plain version, accumulating in double, serves; rows are shared out when there are many. Losses are
// summed over a fixed number of parts of the batch in order: they do not depend on the number of threads.
#include "kernels/loss.h"

#include <algorithm>
#include <cmath>

namespace rtfq::kernels {
namespace {

/// An exponential takes some ten times as long as moving a float.
constexpr int64_t parallel_logits = 4096;

/// log softmax(z/temperature)[j] = (z[j] - top)/temperature - log_sum.
struct LogSoftmax {
  const float* z;
  double top, inverse_temperature, log_sum;

  LogSoftmax(const float* row, int64_t k, double temperature)
      : z(row),
        top(static_cast<double>(*std::max_element(row, row + k))),
        inverse_temperature(1.0 / temperature) {
    double sum = 0;
    for (int64_t j = 0; j < k; ++j) sum += std::exp(scaled(j));
    log_sum = std::log(sum);
  }
  double scaled(int64_t j) const { return (static_cast<double>(z[j]) - top) * inverse_temperature; }
  double log_p(int64_t j) const { return scaled(j) - log_sum; }
  double p(int64_t j) const { return std::exp(log_p(j)); }
};

/// Sum over all rows of `loss(row)`, which also adds the row's gradient.
template <class F>
double sum_rows(const LogitsShape& s, F&& loss) {
  constexpr int64_t parts = 64;
  double sums[parts] = {};
#pragma omp parallel for schedule(static) if (s.n * s.k >= parallel_logits)
  for (int64_t part = 0; part < parts; ++part)
    for (int64_t i = s.n * part / parts; i < s.n * (part + 1) / parts; ++i) sums[part] += loss(i);
  double sum = 0;
  for (const double part : sums) sum += part;
  return sum;
}

void softmax(const LogitsShape& s, const SoftmaxArgs& a, Stream) {
#pragma omp parallel for schedule(static) if (s.n * s.k >= parallel_logits)
  for (int64_t i = 0; i < s.n; ++i) {
    const LogSoftmax row(a.z + i * s.k, s.k, static_cast<double>(a.temperature));
    for (int64_t j = 0; j < s.k; ++j) a.probabilities[i * s.k + j] = static_cast<float>(row.p(j));
  }
}

void cross_entropy(const LogitsShape& s, const CrossEntropyArgs& a, Stream) {
  const double smoothing = static_cast<double>(a.smoothing), n = static_cast<double>(s.n);
  const double uniform = smoothing / static_cast<double>(s.k);
  const double sum = sum_rows(s, [&](int64_t i) {
    const double mask = a.mask ? static_cast<double>(a.mask[i]) : 1.0;
    const LogSoftmax row(a.z + i * s.k, s.k, 1.0);
    const double factor = static_cast<double>(a.weight) * mask / n;
    double loss = 0;
    for (int64_t j = 0; j < s.k; ++j) {
      const double target = uniform + (j == a.labels[i] ? 1.0 - smoothing : 0.0);
      if (target != 0) loss -= target * row.log_p(j);
      a.dz[i * s.k + j] += static_cast<float>(factor * (row.p(j) - target));
    }
    return mask * loss;
  });
  *a.loss = static_cast<float>(sum / n);
}

void soft_cross_entropy(const LogitsShape& s, const SoftCrossEntropyArgs& a, Stream) {
  const double n = static_cast<double>(s.n), temperature = static_cast<double>(a.temperature);
  const double sum = sum_rows(s, [&](int64_t i) {
    const LogSoftmax row(a.z + i * s.k, s.k, temperature);
    const float* targets = a.targets + i * s.k;
    double loss = 0, mass = 0;  // `mass` is 1 up to rounding
    for (int64_t j = 0; j < s.k; ++j) {
      const double target = static_cast<double>(targets[j]);
      mass += target;
      if (target != 0) loss -= target * row.log_p(j);
    }
    const double factor = static_cast<double>(a.weight) / (n * temperature);
    for (int64_t j = 0; j < s.k; ++j)
      a.dz[i * s.k + j] += static_cast<float>(factor * (mass * row.p(j) - static_cast<double>(targets[j])));
    return loss;
  });
  *a.loss = static_cast<float>(sum / n);
}

void mean_prediction(const LogitsShape& s, const MeanPredictionArgs& a, Stream) {
  // Classes are taken in tiles whose sums fit on the stack; more classes than one tile holds pay for more
  // than one normalization of each row.
  constexpr int64_t tile = 1024;
  for (int64_t begin = 0; begin < s.k; begin += tile) {
    const int64_t width = std::min(tile, s.k - begin);
    double sums[tile] = {};
    for (int64_t i = 0; i < s.n; ++i) {
      const LogSoftmax row(a.z + i * s.k, s.k, 1.0);
      for (int64_t j = 0; j < width; ++j) sums[j] += row.p(begin + j);
    }
    for (int64_t j = 0; j < width; ++j)
      a.mean[begin + j] = static_cast<float>(sums[j] / static_cast<double>(s.n));
  }
}

/// loss = 1/n sum_ij -p log(p + eps) + sum_j m (log(m + eps) - log prior). With q_ij = dloss/dp_ij * n, where
/// m_j changes by 1/n of p_ij, dz_ij = p_ij (q_ij - sum_l p_il q_il) / n.
void information_maximization(const LogitsShape& s, const InformationMaximizationArgs& a, Stream) {
  constexpr double floor = 1e-8;
  const double n = static_cast<double>(s.n);
  // d/dp of p log(p + eps)
  const auto slope = [](double p) { return std::log(p + floor) + p / (p + floor); };
  const auto log_prior = [&](int64_t j) {
    return a.prior ? std::log(static_cast<double>(a.prior[j]) + floor) : 0.0;
  };
  const double entropies = sum_rows(s, [&](int64_t i) {
    const LogSoftmax row(a.z + i * s.k, s.k, 1.0);
    const auto q = [&](int64_t j, double p) {
      return slope(static_cast<double>(a.mean[j])) - log_prior(j) - slope(p);
    };
    double entropy = 0, average = 0;
    for (int64_t j = 0; j < s.k; ++j) {
      const double p = row.p(j);
      entropy -= p * std::log(p + floor);
      average += p * q(j, p);
    }
    for (int64_t j = 0; j < s.k; ++j) {
      const double p = row.p(j);
      a.dz[i * s.k + j] += static_cast<float>(static_cast<double>(a.weight) * p * (q(j, p) - average) / n);
    }
    return entropy;
  });
  double of_mean = 0;
  for (int64_t j = 0; j < s.k; ++j) {
    const double m = static_cast<double>(a.mean[j]);
    of_mean -= m * (std::log(m + floor) - log_prior(j));
  }
  *a.loss = static_cast<float>(entropies / n - of_mean);
}

std::size_t class_confusion_workspace(const LogitsShape& s) {
  return static_cast<std::size_t>(s.n + 2 * s.k) * sizeof(double);
}

/// With D_j = sum_i w_i p_ij^2: dloss/dp_ij = -w_i/k (2 p_ij / S_j - D_j / S_j^2).
void class_confusion(const LogitsShape& s, const ClassConfusionArgs& a, Stream) {
  const double temperature = static_cast<double>(a.temperature), classes = static_cast<double>(s.k);
  double* const weights = static_cast<double*>(a.workspace);
  double* const total = weights + s.n;   // S
  double* const diagonal = total + s.k;  // D
  double weight_sum = 0;
  for (int64_t i = 0; i < s.n; ++i) {
    const LogSoftmax row(a.z + i * s.k, s.k, temperature);
    double entropy = 0;
    for (int64_t j = 0; j < s.k; ++j) entropy -= row.p(j) * row.log_p(j);
    weight_sum += weights[i] = 1 + std::exp(-entropy);
  }
  std::fill(total, diagonal + s.k, 0.0);
  for (int64_t i = 0; i < s.n; ++i) {
    weights[i] *= static_cast<double>(s.n) / weight_sum;
    const LogSoftmax row(a.z + i * s.k, s.k, temperature);
    for (int64_t j = 0; j < s.k; ++j) {
      const double p = row.p(j);
      total[j] += weights[i] * p;
      diagonal[j] += weights[i] * p * p;
    }
  }
  // A class that no row gives any probability confuses nothing.
  double on_diagonal = 0;
  for (int64_t j = 0; j < s.k; ++j) on_diagonal += total[j] > 0 ? diagonal[j] / total[j] : 1.0;
  const auto slope = [&](int64_t i, int64_t j, double p) {
    if (!(total[j] > 0)) return 0.0;
    return -weights[i] / classes * (2 * p / total[j] - diagonal[j] / (total[j] * total[j]));
  };
  for (int64_t i = 0; i < s.n; ++i) {
    const LogSoftmax row(a.z + i * s.k, s.k, temperature);
    double average = 0;
    for (int64_t j = 0; j < s.k; ++j) average += row.p(j) * slope(i, j, row.p(j));
    const double factor = static_cast<double>(a.weight) / temperature;
    for (int64_t j = 0; j < s.k; ++j)
      a.dz[i * s.k + j] += static_cast<float>(factor * row.p(j) * (slope(i, j, row.p(j)) - average));
  }
  *a.loss = static_cast<float>(1 - on_diagonal / classes);
}

}  // namespace

std::span<const Softmax::Impl> Softmax::cpu() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, softmax}};
  return list;
}
std::span<const CrossEntropy::Impl> CrossEntropy::cpu() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, cross_entropy}};
  return list;
}
std::span<const SoftCrossEntropy::Impl> SoftCrossEntropy::cpu() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, soft_cross_entropy}};
  return list;
}
std::span<const MeanPrediction::Impl> MeanPrediction::cpu() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, mean_prediction}};
  return list;
}
std::span<const InformationMaximization::Impl> InformationMaximization::cpu() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, information_maximization}};
  return list;
}
std::span<const ClassConfusion::Impl> ClassConfusion::cpu() {
  static constexpr Impl list[] = {{"naive", supports_all<Shape>, class_confusion, class_confusion_workspace}};
  return list;
}

}  // namespace rtfq::kernels
