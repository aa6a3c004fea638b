#pragma once
// One pass of a step: a subnet's forward, its losses, and its gradients into the parameters.

#include "training/losses.h"
#include "training/network.h"
#include "training/sampler.h"

namespace rtfq {

/// Shares of the classes among the target's predictions, f32 [classes], averaged over steps; undefined before
/// the first, and where no loss wants them.
struct ClassShares {
  Tensor student;  ///< of the largest subnet, for loss.information_average
  Tensor teacher;  ///< for loss.information_prior
};

/// What a pass computes from; tensors are on the network's device, and undefined where no loss wants them.
struct PassInput {
  PassPlan plan;
  std::vector<BatchPart> parts;
  Tensor images;         ///< f32 [n, R, R, C] at the subnet's resolution, source first
  Tensor labels;         ///< s32 [source rows]
  Tensor teaching;       ///< f32 [target rows, k], the teacher's probabilities, to distil
  Tensor pseudo_labels;  ///< the same at temperature 1
  Tensor higher;         ///< f32 [n, k], logits of the pass at the next higher bit-width
  ClassShares shares;
  double ramp = 1;  ///< factor on the weights of the target's losses

  int64_t source_rows() const { return labels.dim(0); }
  int64_t target_rows() const { return images.dim(0) - source_rows(); }
};

struct PassResult {
  Tensor logits;  ///< f32 [n, k]
  PassLoss loss;
  Tensor share;  ///< f32 [k], what ClassShares::student becomes; undefined where it stays
};

/// Trains `student` on it: gradients are added to the parameters', norms' running statistics follow.
/// `losses`, f32 [PassLoss::most_terms], gets the terms; `right`, f32, how many source images the largest
/// subnet had right, where this pass is its. The host waits for nothing. `changes` and `watch`: as Tape's.
PassResult run_pass(Supernet& student, const Config&, const PassInput&, const Tensor& losses, float* right,
                    Tape::HostChanges* changes = nullptr, BackwardWatch* watch = nullptr);

}  // namespace rtfq
