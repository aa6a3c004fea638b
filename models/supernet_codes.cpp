// The forward pass on integer codes. Between two convolutions stand one pass for the statistics and one that
// normalizes, adds the residual and quantizes; the tape keeps codes and the convolutions' results.

#include "models/supernet_pass.h"

namespace rtfq {
namespace {

/// What takes at most so many products for each result is computed again in the backward pass, on codes that
/// the tape keeps anyway and with the same exact sums: the first expansions of a ResNet-50, whose results
/// would be a sixth of its tape.
constexpr int64_t remade_products = 64;

}  // namespace

/// The forms of a block's result that are read later; the others are not made.
struct Supernet::Wanted {
  bool codes = false;     ///< by the next convolutions
  bool identity = false;  ///< by the next block's sum, or by the pooled features
};

/// With Residual::codes the identity path reads `codes`.
struct Supernet::Output {
  ops::Quantized codes, identity;
  Variable values;  ///< Residual::keep_float

  ops::ResidualTerm as_residual(Residual residual) const {
    if (residual == Residual::keep_float) return {values, {}, {}};
    return {{}, residual == Residual::codes ? codes : identity, {}};
  }
};

ops::NormInput Supernet::convolve(Pass& pass, ElasticConv& conv, const ops::Quantized& x, int64_t k,
                                  int bits) {
  Tape& tape = pass.tape;
  const int64_t c = x.codes.data.dim(3);
  Variable y;
  ops::BatchStatistics statistics;
  std::function<Tensor()> remake;
  if (tape.recording()) {
    const auto w =
        conv.quantizer->quantize_weight(tape, tape.leaf(*conv.weight, k, c), bits, conv.weight->value);
    statistics.ends = conv.norm->segment_ends(pass.at, pass.parts);
    y = ops::conv2d(tape, x, w, conv.stride, options_.storage, statistics);
    if (w.codes.data.count() <= remade_products * k)
      remake = [x, w, stride = conv.stride, type = options_.storage, stream = tape.stream()] {
        Tape quiet(false, stream);
        return ops::conv2d(quiet, x, w, stride, type).data;
      };
  } else {
    auto& kept = conv.kept;
    if (kept.version != version_ || kept.k != k || kept.c != c || kept.bits != bits) {
      auto w = conv.quantizer->quantize_weight(tape, tape.leaf(*conv.weight, k, c), bits, conv.weight->value);
      kept = {version_, k, c, bits, {}, std::move(w), {}};
    }
    y = ops::conv2d(tape, x, kept.codes, conv.stride, options_.storage, &kept.packed);
  }
  heard(*conv.weight, y.data);
  ops::NormInput in = conv.norm->input(tape, y, pass.at, pass.parts, pass.mode, statistics);
  in.remake = std::move(remake);
  return in;
}

Supernet::Output Supernet::quantize_sum(Pass& pass, OutputQuantizers& output, const ops::NormInput& in,
                                        const ops::ResidualTerm& residual, Wanted wanted) {
  Tape& tape = pass.tape;
  const Dims& dims = in.x.data.dims();
  Tensor sum;  // made at most once
  const auto values = [&] {
    if (!sum.defined()) sum = ops::norm_sum(tape.stream(), in, residual);
    return sum;
  };
  const auto step_of = [&](Quantizer& quantizer, int bits) {
    return quantizer.prepare(tape, dims, bits, values);
  };
  const bool own_identity = wanted.identity && options_.residual == Residual::eight_bits;
  if (own_identity && !wanted.codes)  // the last block: nothing reads the other codes
    return {
        {},
        ops::norm_quant(tape, in, residual, step_of(*output.identity, 8), ops::IdentityForm::none, nullptr)
            .codes,
        {}};
  const bool keeps = wanted.identity && options_.residual == Residual::keep_float;
  if (keeps && !wanted.codes) {
    Variable z = ops::batch_norm(tape, in);
    z = ops::add(tape, z, residual.norm ? ops::batch_norm(tape, *residual.norm) : residual.values);
    return {{}, {}, ops::relu(tape, z)};
  }
  const ops::LearnedStep codes = step_of(*output.codes, pass.subnet.bits);
  if (own_identity) {
    const ops::LearnedStep identity = step_of(*output.identity, 8);
    auto both = ops::norm_quant(tape, in, residual, codes, ops::IdentityForm::codes, &identity);
    return {std::move(both.codes), std::move(both.identity), {}};
  }
  auto result = ops::norm_quant(tape, in, residual, codes,
                                keeps ? ops::IdentityForm::values : ops::IdentityForm::none, nullptr);
  return {std::move(result.codes), {}, std::move(result.identity_values)};
}

Supernet::Output Supernet::quantize_pooled(Pass& pass, OutputQuantizers& output, const Variable& sum,
                                           Wanted wanted) {
  Output out;
  out.codes = output.codes->quantize(pass.tape, sum, pass.subnet.bits);
  if (!wanted.identity) return out;
  if (options_.residual == Residual::eight_bits) out.identity = output.identity->quantize(pass.tape, sum, 8);
  if (options_.residual == Residual::keep_float) out.values = ops::relu(pass.tape, sum);
  return out;
}

Supernet::Output Supernet::run_block(Pass& pass, ResidualBlock& block, const Output& x, int64_t mid,
                                     int64_t out, Wanted wanted) {
  const int bits = pass.subnet.bits;
  ops::Quantized y = x.codes;
  for (std::size_t i = 0; i + 1 < block.convs.size(); ++i) {
    const ops::NormInput in = convolve(pass, block.convs[i], y, mid, bits);
    const auto step = block.inner[i]->prepare(pass.tape, in.x.data.dims(), bits,
                                              [&] { return ops::norm_sum(pass.tape.stream(), in, {}); });
    y = ops::norm_quant(pass.tape, in, {}, step, ops::IdentityForm::none, nullptr).codes;
  }
  const ops::NormInput last = convolve(pass, block.convs.back(), y, out, bits);
  ops::ResidualTerm residual;
  if (block.projection)
    residual.norm = convolve(pass, *block.projection, x.codes, out, bits);
  else
    residual = x.as_residual(options_.residual);
  return quantize_sum(pass, block.output, last, residual, wanted);
}

Variable Supernet::pooled_features(Pass& pass, const Output& last) {
  if (options_.residual == Residual::keep_float)
    return ops::convert(pass.tape, ops::average_pool(pass.tape, last.values), DType::f32);
  return ops::average_pool(pass.tape, options_.residual == Residual::codes ? last.codes : last.identity,
                           options_.storage);
}

Variable Supernet::classify(Pass& pass, const Variable& pooled) {
  Tape& tape = pass.tape;
  const auto features = features_->quantize(tape, pooled, pass.ends_bits);
  const QTensor values{features.codes.data, features.step, 8, false};
  const auto w = classifier_quantizer_->quantize_weight(
      tape, tape.leaf(*classifier_, options_.classes, pooled.data.dim(1)), pass.ends_bits,
      classifier_->value);
  Variable logits = ops::linear(tape, features, values.dequantize(), w, tape.leaf(*bias_));
  heard(*classifier_, logits.data);
  return logits;
}

Variable Supernet::forward_codes(Pass& pass, const Tensor& images) {
  // All residual blocks of the subnet, in order.
  struct Place {
    ResidualBlock* block;
    std::size_t stage;
  };
  std::vector<Place> blocks;
  for (std::size_t stage = 0; stage < stages_.size(); ++stage)
    for (int64_t i = 0; i < scaled_blocks(spec_.blocks[stage], pass.subnet.depth); ++i)
      blocks.push_back({&stages_[stage][static_cast<std::size_t>(i)], stage});
  const auto wanted_after = [&](std::size_t done) {  // by block `done`, or after the last one
    if (done < blocks.size()) return Wanted{true, !blocks[done].block->projection};
    return Wanted{options_.residual == Residual::codes, true};
  };

  const auto image = input_->quantize(pass.tape, Tape::constant(images), pass.ends_bits);
  const ops::NormInput stem = convolve(pass, stem_, image, pass.scaled(spec_.stem_channels), pass.ends_bits);
  Output x = spec_.stem_pool
                 ? quantize_pooled(pass, stem_output_,
                                   ops::max_pool(pass.tape, ops::batch_norm(pass.tape, stem), 3, 2, 1),
                                   wanted_after(0))
                 : quantize_sum(pass, stem_output_, stem, {}, wanted_after(0));
  for (std::size_t i = 0; i < blocks.size(); ++i)
    x = run_block(pass, *blocks[i].block, x, pass.scaled(spec_.channels[blocks[i].stage]),
                  pass.scaled(spec_.stage_output(blocks[i].stage)), wanted_after(i + 1));
  return classify(pass, pooled_features(pass, x));
}

}  // namespace rtfq
