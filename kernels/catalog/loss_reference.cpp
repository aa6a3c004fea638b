#include "kernels/catalog/loss_reference.h"

#include <algorithm>
#include <cmath>

namespace rtfq::kernels::catalog::reference {
namespace {

constexpr double log_floor = 1e-8;

/// log softmax of each row of z / temperature.
Values log_softmax(const Values& z, std::size_t k, double temperature) {
  Values result;
  for (std::size_t row = 0; row < z.size(); row += k) {
    double top = z[row], sum = 0;
    for (std::size_t j = 1; j < k; ++j) top = std::max(top, z[row + j]);
    for (std::size_t j = 0; j < k; ++j) sum += std::exp((z[row + j] - top) / temperature);
    for (std::size_t j = 0; j < k; ++j) result.push_back((z[row + j] - top) / temperature - std::log(sum));
  }
  return result;
}

/// d(loss)/dz from d(loss)/dp of one row: dp_j/dz_l = p_j (1[j==l] - p_l).
Values through_softmax(const double* p, const Values& slope) {
  Values result(slope.size());
  for (std::size_t l = 0; l < slope.size(); ++l)
    for (std::size_t j = 0; j < slope.size(); ++j)
      result[l] += slope[j] * p[j] * ((j == l ? 1.0 : 0.0) - p[l]);
  return result;
}

/// -sum_j target_j log p_j of a row, scaled; d(-log p_j)/dz_l = p_l - 1[j==l].
void add_row(Loss& loss, const double* log_p, const Values& target, double scale, double gradient_scale) {
  const std::size_t k = target.size(), row = loss.gradient.size();
  loss.gradient.resize(row + k);
  for (std::size_t j = 0; j < k; ++j) {
    if (target[j] == 0) continue;
    loss.loss -= scale * target[j] * log_p[j];
    for (std::size_t l = 0; l < k; ++l)
      loss.gradient[row + l] += gradient_scale * target[j] * (std::exp(log_p[l]) - (j == l ? 1.0 : 0.0));
  }
}

}  // namespace

Values softmax(const Values& z, std::size_t k, double temperature) {
  Values p = log_softmax(z, k, temperature);
  for (double& value : p) value = std::exp(value);
  return p;
}

Loss cross_entropy(const Values& z, std::size_t k, const std::vector<int32_t>& labels, const Values& mask,
                   double smoothing) {
  const Values log_p = log_softmax(z, k, 1);
  const std::size_t n = z.size() / k;
  Loss result;
  for (std::size_t i = 0; i < n; ++i) {
    Values target(k, smoothing / static_cast<double>(k));
    target[static_cast<std::size_t>(labels[i])] += 1 - smoothing;
    const double scale = (mask.empty() ? 1 : mask[i]) / static_cast<double>(n);
    add_row(result, &log_p[i * k], target, scale, scale);
  }
  return result;
}

Loss soft_cross_entropy(const Values& z, std::size_t k, const Values& targets, double temperature) {
  const Values log_p = log_softmax(z, k, temperature);
  const std::size_t n = z.size() / k;
  const double scale = 1 / static_cast<double>(n);
  Loss result;
  for (std::size_t i = 0; i < n; ++i)
    add_row(result, &log_p[i * k],
            Values(targets.begin() + static_cast<std::ptrdiff_t>(i * k),
                   targets.begin() + static_cast<std::ptrdiff_t>((i + 1) * k)),
            scale, scale / temperature);
  return result;
}

Values mean_prediction(const Values& z, std::size_t k) {
  const Values p = softmax(z, k, 1);
  Values mean(k);
  for (std::size_t i = 0; i < p.size(); ++i)
    mean[i % k] += p[i] * static_cast<double>(k) / static_cast<double>(p.size());
  return mean;
}

Loss information_maximization(const Values& z, std::size_t k, const Values& mean, const Values& prior) {
  const Values p = softmax(z, k, 1);
  const double n = static_cast<double>(z.size() / k);
  Loss result;
  Values log_prior(k);
  for (std::size_t j = 0; j < prior.size(); ++j) log_prior[j] = std::log(prior[j] + log_floor);
  for (std::size_t j = 0; j < k; ++j) result.loss += mean[j] * (std::log(mean[j] + log_floor) - log_prior[j]);
  for (std::size_t row = 0; row < p.size(); row += k) {
    Values slope(k);
    for (std::size_t j = 0; j < k; ++j) {
      const double q = p[row + j], m = mean[j];
      result.loss -= q * std::log(q + log_floor) / n;
      slope[j] = -(std::log(q + log_floor) + q / (q + log_floor)) / n +
                 (std::log(m + log_floor) + m / (m + log_floor) - log_prior[j]) / n;
    }
    const Values gradient = through_softmax(&p[row], slope);
    result.gradient.insert(result.gradient.end(), gradient.begin(), gradient.end());
  }
  return result;
}

Values confusion_weights(const Values& z, std::size_t k, double temperature) {
  const Values p = softmax(z, k, temperature), log_p = log_softmax(z, k, temperature);
  Values weights;
  double sum = 0;
  for (std::size_t row = 0; row < p.size(); row += k) {
    double entropy = 0;
    for (std::size_t j = row; j < row + k; ++j) entropy -= p[j] * log_p[j];
    weights.push_back(1 + std::exp(-entropy));
    sum += weights.back();
  }
  for (double& w : weights) w *= static_cast<double>(weights.size()) / sum;
  return weights;
}

Loss class_confusion(const Values& z, std::size_t k, double temperature, const Values& weights) {
  const Values p = softmax(z, k, temperature);
  const std::size_t n = p.size() / k;
  Values correlation(k * k), total(k);  // C = P^T W P, and its row sums
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t a = 0; a < k; ++a)
      for (std::size_t b = 0; b < k; ++b) correlation[a * k + b] += weights[i] * p[i * k + a] * p[i * k + b];
  for (std::size_t a = 0; a < k; ++a)
    for (std::size_t b = 0; b < k; ++b) total[a] += correlation[a * k + b];
  Loss result;
  const double classes = static_cast<double>(k);
  for (std::size_t a = 0; a < k; ++a)
    for (std::size_t b = 0; b < k; ++b)
      if (a != b && total[a] > 0) result.loss += correlation[a * k + b] / (total[a] * classes);
  // The loss is 1 - 1/k sum_j C_jj / S_j, since a row of C / S sums to one.
  for (std::size_t i = 0; i < n; ++i) {
    Values slope(k);
    for (std::size_t j = 0; j < k; ++j)
      if (total[j] > 0)  // a class that no row gives any probability confuses nothing
        slope[j] = -weights[i] / classes *
                   (2 * p[i * k + j] / total[j] - correlation[j * k + j] / (total[j] * total[j]));
    for (const double g : through_softmax(&p[i * k], slope)) result.gradient.push_back(g / temperature);
  }
  return result;
}

}  // namespace rtfq::kernels::catalog::reference
