#pragma once
// Differentiable operations: a forward pass through kernels/, and what its gradient needs on the tape.
// Activations are dense NHWC, f32 or bf16; a result and all gradients have the type of the input, arithmetic
// is f32. Weights are f32 KRSC, possibly a leading slice of a wider parent (Tape::leaf). On codes:
// quantized.h.

#include <span>
#include <vector>

#include "engine/autograd.h"
#include "kernels/conv2d.h"
#include "kernels/fakequant.h"

namespace rtfq::ops {

/// Weights prepared for a convolution's shapes, kept between calls while the weights do not change
/// (evaluation).
class PackedWeights {
 public:
  /// The packed form of `w` for `shape`, made on first use.
  const void* get(const kernels::Conv2dShape& shape, const Tensor& w, Stream stream);
  void clear() { entries_.clear(); }

 private:
  struct Entry {
    kernels::Conv2dShape shape;
    Tensor packed;
  };
  std::vector<Entry> entries_;
};

/// What the norm behind a convolution reads its whole result for, where the device takes it along with the
/// result (kernels/convstatistics.h): this rank's own mean and biased variance.
struct BatchStatistics {
  std::vector<int64_t> ends;  ///< of the norm's segments, in images
  Tensor mean, variance;      ///< [segments, k]; undefined: not taken, norm_statistics reads the result
};

/// x [n,h,w,c] * w [k,r,s,c] -> [n,p,q,k], square filter, `pad` = r/2. Throws std::invalid_argument when x
/// has other channels than w. `cache`: keeps the packed weights; only on a tape that does not record.
Variable conv2d(Tape&, const Variable& x, const Variable& w, int64_t stride, PackedWeights* cache = nullptr);
/// The same, and the result's statistics where they come with it. Throws std::invalid_argument when the
/// segments do not end at the batch size.
Variable conv2d(Tape&, const Variable& x, const Variable& w, int64_t stride, BatchStatistics&);

/// x [n,c] * w [k,c]^T + bias [k] -> [n,k].
Variable linear(Tape&, const Variable& x, const Variable& w, const Variable& bias);

/// LSQ fake-quant of an activation or of a weight (a leading slice of a parent, or dense). `step` [1] or [dim
/// 0]. `grad_scale`: method.md's 1/sqrt(N*qp). The result is dense.
Variable fakequant(Tape&, const Variable& x, const Variable& step, kernels::QuantBounds bounds,
                   float grad_scale);

/// Initial step sizes 2*mean|x|/sqrt(qp), joined over ranks (for unsigned bounds the mean of max(x,0)); at
/// least 2^-60. `weight`: the same on every rank, so not joined.
std::vector<float> initial_step(const Tensor& x, int64_t steps, kernels::QuantBounds bounds, bool weight,
                                Stream stream);

/// One domain's part of a batch: images up to `end` use `scale` and `shift`.
struct NormSegment {
  int64_t end;
  Variable scale, shift;  ///< [c]
};
/// Mean and biased variance per segment, [segments, c].
struct NormStatistics {
  Tensor mean, variance;
  std::vector<double> counts;  ///< values a channel had in each segment, over all ranks
};
/// A tensor [n,h,w,c] and all that its normalization needs.
struct NormInput {
  Variable x;
  std::vector<NormSegment> segments;
  NormStatistics statistics;
  float epsilon = 1e-5f;
  /// Makes the values of `x` once more, the same bits: norm_quant's tape then keeps this instead of them.
  std::function<Tensor()> remake = {};
};
/// Each segment's own statistics, joined over ranks: of `taken`, which become the joint ones, or of what `x`
/// holds. Throws std::invalid_argument when the segments and either of the two do not fit.
NormStatistics norm_statistics(Stream, const Tensor& x, std::span<const NormSegment>, float epsilon,
                               const BatchStatistics& taken = {});
/// Batch normalization. Gradients also go through the statistics: on a tape that records they must be x's
/// own.
Variable batch_norm(Tape&, const NormInput&);
/// The same with each segment's own statistics; `statistics` returns them if not null.
Variable batch_norm(Tape&, const Variable& x, std::span<const NormSegment>, float epsilon,
                    NormStatistics* statistics);

Variable relu(Tape&, const Variable& x);
Variable add(Tape&, const Variable& a, const Variable& b);
/// In another type (f32 or bf16); the same variable if it has it. The gradient comes back in x's type.
Variable convert(Tape&, const Variable& x, DType type);
Variable max_pool(Tape&, const Variable& x, int64_t window, int64_t stride, int64_t pad);
/// [n,h,w,c] -> [n,c].
Variable average_pool(Tape&, const Variable& x);

/// f32 NHWC to p x q, antialiased bilinear; not differentiable.
Tensor resize(Stream, const Tensor& x, int64_t p, int64_t q);
/// u8 NHWC pixels (host memory) to (x/255 - mean)/deviation on `device`.
Tensor normalize(Stream, std::span<const uint8_t> pixels, Dims dims, std::span<const float> mean,
                 std::span<const float> deviation, Device device = {});

}  // namespace rtfq::ops
