#pragma once
// Hidden channels in order of importance, so that the leading ones are those to keep.

#include "models/checkpoint/pretrained.h"

namespace rtfq::checkpoint {

/// Permutes every group of hidden channels that may be permuted freely, the most important channel first. The
/// network computes the same function, up to the order of sums. Groups: the channels between two convolutions
/// of a block; and those of a residual stream, which the stem or a projection, the last convolutions of a
/// stage's blocks and everything that reads the stream share.
///
/// A channel's importance is what leaving it out changes in the next pre-activations, estimated without data:
///
///   importance(c) = E[a_c^2] * sum over readers and their outputs k of (scale_k / sd_k)^2 * sum_rs
///   W[k,c,r,s]^2
///
/// a_c being the channel's activation. Behind a norm the pre-activation is taken as normal with mean `shift`
/// and deviation |scale|, rectified; in a residual stream means and variances of the summands add up from
/// block to block, each sum rectified. The importance of a stream's channel is the sum over all places that
/// read it. A classifier counts as a reader whose outputs have the scale of its weights' rows.
void sort_channels(Pretrained&);

}  // namespace rtfq::checkpoint
