#pragma once
// Softmax and losses in fp64, from the formulas of kernels/loss.h, with gradients through explicit Jacobians.
// The gradients are checked by finite differences in tests/kernels.

#include <cstdint>
#include <vector>

namespace rtfq::kernels::catalog::reference {

using Values = std::vector<double>;

/// A loss and its gradient with respect to the logits [n,k], without any weight.
struct Loss {
  double loss = 0;
  Values gradient;
};

/// softmax(z / temperature) of each row.
Values softmax(const Values& z, std::size_t k, double temperature);
/// mask may be empty.
Loss cross_entropy(const Values& z, std::size_t k, const std::vector<int32_t>& labels, const Values& mask,
                   double smoothing);
Loss soft_cross_entropy(const Values& z, std::size_t k, const Values& targets, double temperature);
Values mean_prediction(const Values& z, std::size_t k);
/// The gradient counts 1/n of each row's probabilities into `mean`. An empty prior: equal shares.
Loss information_maximization(const Values& z, std::size_t k, const Values& mean, const Values& prior = {});
/// What each row counts in the class correlation.
Values confusion_weights(const Values& z, std::size_t k, double temperature);
/// From the class correlation matrix itself; its gradient treats the weights as constants.
Loss class_confusion(const Values& z, std::size_t k, double temperature, const Values& weights);

}  // namespace rtfq::kernels::catalog::reference
