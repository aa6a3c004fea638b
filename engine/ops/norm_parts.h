#pragma once
// What every operation with a batch normalization in it shares.

#include "engine/ops/ops.h"
#include "kernels/batchnorm.h"

namespace rtfq::ops {

/// Throws std::invalid_argument when segments and `x` do not fit.
kernels::BatchNormShape norm_shape(const Tensor& x, std::span<const NormSegment>, float epsilon);
bool any_needs_gradient(const NormInput&);
/// Adds sum_g and sum_gx ([segments, c], kernels/batchnorm.h) to the gradients of shift and scale, and
/// `other_sum_gx` to those of another norm that shares sum_g, where there is one.
void accumulate_affine(Stream, std::span<const NormSegment>, const Tensor& sum_g, const Tensor& sum_gx,
                       std::span<const NormSegment> other = {}, const Tensor& other_sum_gx = {});

/// The [segments, c] sums that the backward of a norm makes, in one place, so that ranks join them by one
/// message.
class BackwardSums {
 public:
  BackwardSums(const Tensor& like, int count)
      : dims_(like.dims()),
        all_(Tensor::empty({count, like.dim(0), like.dim(1)}, DType::f32, like.device())) {}
  Tensor operator[](int i) const { return all_.slice(0, i, 1).reshaped(dims_); }
  const Tensor& all() const { return all_; }

 private:
  Dims dims_;
  Tensor all_;
};

}  // namespace rtfq::ops
