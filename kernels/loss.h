#pragma once
// Softmax and the losses of docs/method.md. A loss operator writes the loss and its gradient with respect to the
// logits in one launch; the gradient is of `weight * loss`.

#include "kernels/operator.h"

namespace rtfq::kernels {

using LogitsShape = rtfq_logits_shape;
LogitsShape make_logits_shape(int64_t n, int64_t k);  ///< throws unless n >= 1 and k >= 2

/// probabilities = softmax(z / temperature), the row maximum subtracted first.
struct SoftmaxArgs {
  const float* z;  ///< [n,k]
  float temperature;
  float* probabilities;  ///< [n,k]
};

/// loss = 1/n sum_i m_i * ( -(1-e) log p[y_i] - e/k sum_j log p_j ), p = softmax(z), e = smoothing. With m_i in {0,1} it is
/// the pseudo-label loss (rows that are not confident count in n).
struct CrossEntropyArgs {
  const float* z;  ///< [n,k]
  const int32_t* labels;  ///< [n], in [0,k)
  const float* mask;      ///< [n] or nullptr (all ones)
  float smoothing;
  float weight;
  float* loss;  ///< [1], without the weight
  float* dz;    ///< [n,k], accumulated into
};

/// loss = -1/n sum_i sum_j t_ij log softmax(z/temperature)_ij: distillation against given probabilities.
struct SoftCrossEntropyArgs {
  const float* z;  ///< [n,k]
  const float* targets;  ///< [n,k], rows sum to 1
  float temperature;
  float weight;
  float* loss;
  float* dz;  ///< accumulated into
};

/// mean[j] = 1/n sum_i softmax(z)_ij, the part of information maximization that a reducer joins.
struct MeanPredictionArgs {
  const float* z;  ///< [n,k]
  float* mean;  ///< [k], overwritten
};

/// loss = mean entropy - entropy of the mean prediction (Shi & Sha 2012; Liang et al. 2020, SHOT equation 3), both with
/// log(p + 1e-8) as method.md's peers do; `mean` is given (over all ranks, or over several steps), the gradient treats it
/// as depending on z. With a `prior` q the second part is the divergence sum_j m_j log(m_j / q_j): the mean prediction is
/// drawn to q instead of to equal shares.
struct InformationMaximizationArgs {
  const float* z;  ///< [n,k]
  const float* mean;  ///< [k]
  float weight;
  float* loss;
  float* dz;                     ///< accumulated into
  const float* prior = nullptr;  ///< [k]; nullptr: equal shares
};

/// Minimum class confusion (Jin et al. 2020, equations 4 to 8). With p = softmax(z/temperature), row weights w_i = n (1 +
/// exp(-H_i)) / sum_l (1 + exp(-H_l)) from the rows' entropies H, which get no gradient, and S_j = sum_i w_i p_ij:
/// loss = 1 - 1/k sum_j (sum_i w_i p_ij^2) / S_j, what the normalized class correlation has off its diagonal.
struct ClassConfusionArgs {
  const float* z;  ///< [n,k]
  float temperature;
  float weight;
  float* loss;
  float* dz;  ///< accumulated into
  void* workspace = nullptr;
};

RTFQ_CUDA_OPERATOR(Softmax, "softmax", LogitsShape, SoftmaxArgs);
RTFQ_CUDA_OPERATOR(CrossEntropy, "loss.cross_entropy", LogitsShape, CrossEntropyArgs);
RTFQ_CUDA_OPERATOR(SoftCrossEntropy, "loss.soft_cross_entropy", LogitsShape, SoftCrossEntropyArgs);
RTFQ_CUDA_OPERATOR(MeanPrediction, "loss.mean_prediction", LogitsShape, MeanPredictionArgs);
RTFQ_CUDA_OPERATOR(InformationMaximization, "loss.information_maximization", LogitsShape, InformationMaximizationArgs);
RTFQ_CUDA_OPERATOR(ClassConfusion, "loss.class_confusion", LogitsShape, ClassConfusionArgs);

Cost cost(const Softmax&, const LogitsShape&);
Cost cost(const CrossEntropy&, const LogitsShape&);
Cost cost(const SoftCrossEntropy&, const LogitsShape&);
Cost cost(const MeanPrediction&, const LogitsShape&);
Cost cost(const InformationMaximization&, const LogitsShape&);
Cost cost(const ClassConfusion&, const LogitsShape&);

}  // namespace rtfq::kernels
