#include <stdexcept>

#include "kernels/tf32.h"
#include "models/supernet_pass.h"

namespace rtfq {

Variable Supernet::convolve(Pass& pass, ElasticConv& conv, const Variable& x, int64_t k, int bits) {
  const int64_t c = x.data.dim(3);
  Variable y;
  ops::BatchStatistics statistics;
  if (pass.tape.recording()) {
    const Variable w = pass.tape.leaf(*conv.weight, k, c);
    statistics.ends = conv.norm->segment_ends(pass.at, pass.parts);
    y = ops::conv2d(pass.tape, x, conv.quantizer->apply(pass.tape, w, bits, conv.weight->value), conv.stride,
                    statistics);
  } else {
    auto& kept = conv.kept;
    if (kept.version != version_ || kept.k != k || kept.c != c || kept.bits != bits) {
      const Variable w = pass.tape.leaf(*conv.weight, k, c);
      kept = {version_, k, c, bits, conv.quantizer->apply(pass.tape, w, bits, conv.weight->value), {}, {}};
    }
    y = ops::conv2d(pass.tape, x, kept.values, conv.stride, &kept.packed);
  }
  heard(*conv.weight, y.data);
  return conv.norm->forward(pass.tape, y, pass.at, pass.parts, pass.mode, statistics);
}

// An unsigned quantizer clamps at zero and passes no gradient there, exactly as the ReLU before it would:
// where codes are wanted the ReLU costs nothing.
Variable Supernet::codes_of(Pass& pass, OutputQuantizers& output, const Variable& sum) {
  if (!pass.quantized()) return ops::relu(pass.tape, sum);
  return output.codes->apply(pass.tape, sum, pass.subnet.bits, sum.data);
}

Variable Supernet::identity_of(Pass& pass, OutputQuantizers& output, const Variable& sum,
                               const Variable& codes) {
  if (!pass.quantized() || options_.residual == Residual::codes) return codes;
  if (options_.residual == Residual::keep_float) return ops::relu(pass.tape, sum);
  return output.identity->apply(pass.tape, sum, 8, sum.data);
}

Variable Supernet::run_block(Pass& pass, ResidualBlock& block, const Variable& codes,
                             const Variable& identity, int64_t mid, int64_t out) {
  const int bits = pass.subnet.bits;
  Variable y = codes;
  for (std::size_t i = 0; i < block.convs.size(); ++i) {
    const bool last = i + 1 == block.convs.size();
    y = convolve(pass, block.convs[i], y, last ? out : mid, bits);
    if (last) continue;
    y = pass.quantized() ? block.inner[i]->apply(pass.tape, y, bits, y.data) : ops::relu(pass.tape, y);
  }
  return ops::add(pass.tape, y,
                  block.projection ? convolve(pass, *block.projection, codes, out, bits) : identity);
}

Variable Supernet::forward(Tape& tape, const Subnet& subnet, const Tensor& images,
                           std::span<const BatchPart> parts, NormMode mode) {
  if (images.rank() != 4 || images.dim(1) != subnet.resolution || images.dim(2) != subnet.resolution ||
      images.dim(3) != options_.image_channels)
    throw std::invalid_argument("[supernet] " + id(subnet) + " expects images [n," +
                                std::to_string(subnet.resolution) + "," + std::to_string(subnet.resolution) +
                                "," + std::to_string(options_.image_channels) + "], got " +
                                to_string(images.dims()));
  kernels::allow_tf32(options_.tf32);  // its gradients, too: they come before another network's pass
  const int multiple = options_.bank.multiple;
  Pass pass{tape, subnet, place(options_.bank, subnet), parts, mode, subnet.bits, multiple};
  if (pass.quantized() && options_.first_last_bits) pass.ends_bits = options_.first_last_bits;
  return options_.integer && pass.quantized() ? forward_codes(pass, images) : forward_values(pass, images);
}

Variable Supernet::forward_values(Pass& pass, const Tensor& images) {
  Tape& tape = pass.tape;
  const Variable stored = ops::convert(tape, Tape::constant(images), options_.storage);
  const Variable image = input_->apply(tape, stored, pass.ends_bits, stored.data);
  Variable sum = convolve(pass, stem_, image, pass.scaled(spec_.stem_channels), pass.ends_bits);
  if (spec_.stem_pool) sum = ops::max_pool(tape, sum, 3, 2, 1);
  OutputQuantizers* output = &stem_output_;
  for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
    const int64_t blocks = scaled_blocks(spec_.blocks[stage], pass.subnet.depth);
    for (int64_t i = 0; i < blocks; ++i) {
      ResidualBlock& block = stages_[stage][static_cast<std::size_t>(i)];
      const Variable codes = codes_of(pass, *output, sum);
      const Variable identity = block.projection ? Variable() : identity_of(pass, *output, sum, codes);
      sum = run_block(pass, block, codes, identity, pass.scaled(spec_.channels[stage]),
                      pass.scaled(spec_.stage_output(stage)));
      output = &block.output;
    }
  }
  // The pooled features are averaged from the identity codes; only with Residual::codes are they the
  // convolutions' codes.
  const bool from_codes = !pass.quantized() || options_.residual == Residual::codes;
  const Variable last = from_codes ? codes_of(pass, *output, sum) : identity_of(pass, *output, sum, {});
  const Variable pooled = ops::convert(tape, ops::average_pool(tape, last), DType::f32);
  const Variable features = features_->apply(tape, pooled, pass.ends_bits, pooled.data);
  const int64_t c = features.data.dim(1);
  const Variable w = classifier_quantizer_->apply(tape, tape.leaf(*classifier_, options_.classes, c),
                                                  pass.ends_bits, classifier_->value);
  Variable logits = ops::linear(tape, features, w, tape.leaf(*bias_));
  heard(*classifier_, logits.data);
  return logits;
}

}  // namespace rtfq
