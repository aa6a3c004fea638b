#pragma once
// What is made of a network's answers on the device, so that no step waits for the host to read them:
// pseudo-labels, how many answers are right, mean probabilities and their averages over steps.

#include "kernels/loss.h"

namespace rtfq::kernels {

/// labels[i] = the first arg max of row i; mask[i] = 1 where its probability exceeds `threshold`, else 0.
struct PseudoLabelsArgs {
  const float* probabilities;  ///< [n,k]
  double threshold;
  int32_t* labels;  ///< [n]
  float* mask;      ///< [n]
};

/// right[0] = rows of z whose first arg max is their label.
struct CountRightArgs {
  const float* z;         ///< [n,k]
  const int32_t* labels;  ///< [n]
  float* right;           ///< [1]
};

/// sums[j] = sum_i x_ij, in f32, in the order of the rows.
struct ClassSumsArgs {
  const float* x;  ///< [n,k]
  float* sums;     ///< [k]
};

struct VectorShape {
  int64_t count;
};

/// y = sum over t of x_t / T, in f32, in the order given.
struct MeanOfArgs {
  std::span<const float* const> x;  ///< T tensors of `count` elements
  float* y;                         ///< not one of them
};

/// y = keep*a + (1 - keep)*(b / divisor) in f64, rounded once.
struct BlendArgs {
  const float* a;
  const float* b;
  double keep;
  double divisor;
  float* y;  ///< may be a or b
};

RTFQ_CUDA_OPERATOR(PseudoLabels, "answers.pseudo_labels", LogitsShape, PseudoLabelsArgs);
RTFQ_CUDA_OPERATOR(CountRight, "answers.count_right", LogitsShape, CountRightArgs);
RTFQ_CUDA_OPERATOR(ClassSums, "answers.class_sums", LogitsShape, ClassSumsArgs);
RTFQ_CUDA_OPERATOR(MeanOf, "answers.mean_of", VectorShape, MeanOfArgs);
RTFQ_CUDA_OPERATOR(Blend, "answers.blend", VectorShape, BlendArgs);

Cost cost(const PseudoLabels&, const LogitsShape&);
Cost cost(const CountRight&, const LogitsShape&);
Cost cost(const ClassSums&, const LogitsShape&);
Cost cost(const MeanOf&, const VectorShape&);
Cost cost(const Blend&, const VectorShape&);

}  // namespace rtfq::kernels
