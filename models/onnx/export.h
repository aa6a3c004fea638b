#pragma once
// Subnets as ONNX models, for other runtimes.

#include <string>

#include "models/packed/model.h"

namespace rtfq::onnx {

/// A quantized subnet in QDQ form. Input "images" [batch, channels, r, r] f32, normalized; output "logits"
/// [batch, classes]. Norms are folded into one step size for each output channel of a convolution and a bias
/// in its 32-bit sums; activations are u8, below 8 bits behind a Clip; the image is s8. A code on the border
/// between two may differ from ours, since a runtime folds scales in its own order (docs/deploy.md).
std::string quantized(const packed::Model&, std::size_t subnet);

/// A subnet's architecture at full precision: f32 weights with norms folded in. Throws std::runtime_error
/// where it has no norm statistics.
std::string full_precision(const Supernet&, Subnet, Domain);

}  // namespace rtfq::onnx
