// Image, blocks and classifier; sums are in builder_sums.cpp.
#include "models/deploy/builder.h"

#include <stdexcept>

#include "kernels/fakequant.h"
#include "kernels/linear.h"
#include "kernels/pool.h"

namespace rtfq::deploy {
namespace {

constexpr int64_t max_arena_bytes = int64_t{1} << 36;

}  // namespace

using namespace kernels;

Builder::Builder(Program& program, const packed::Model& model, Weights& weights, int threads)
    : program_(program),
      model_(model),
      weights_(weights),
      walk_(model.walk_of(program.subnet_)),
      subnet_(model.subnets()[program.subnet_].subnet),
      n_(program.batch_),
      threads_(threads) {}

// One image's activations stay in a cache where those of a batch would not; weights are read once for a
// batch. So as long as a block has more of the former, a thread that works alone takes images one by one.
std::size_t Builder::blocks_of_one_image() const {
  std::size_t count = 0;
  if (threads_ > 1 || n_ == 1) return count;
  for (const packed::BlockWalk& block : walk_.blocks) {
    const ConvPlan& first = walk_.convs[block.convs.front()];
    int64_t activations = first.h * first.w * first.c, weights = 0;
    for (const std::size_t index : block.convs) {
      const ConvPlan& conv = walk_.convs[index];
      activations += conv.h / conv.stride * (conv.w / conv.stride) * conv.k;
      weights += conv.k * conv.c * conv.filter * conv.filter;
    }
    if (activations < weights) break;
    ++count;
  }
  return count;
}

void Builder::build() {
  const int64_t batch = n_;
  const std::size_t singly = blocks_of_one_image();
  if (singly > 0) n_ = 1;
  const Conv stem = conv(quantized_image(), 0);
  Sum x = walk_.stem_pool ? pooled_stem(stem) : sum(stem, nullptr, nullptr, "stem.output", walk_.stem);
  for (std::size_t i = 0; i < walk_.blocks.size(); ++i) {
    const bool gather = i + 1 == singly;
    x = run(walk_.blocks[i], x, gather ? batch : 0);
    if (gather) n_ = batch, of_one_image_ = makers_.size();
  }
  classify(x);
  program_.arena_bytes_ = arena_.place();
  if (program_.arena_bytes_ > max_arena_bytes)
    throw std::runtime_error("[deploy] " + id(subnet_) + " with a batch of " + std::to_string(n_) +
                             " needs " + std::to_string(program_.arena_bytes_) +
                             " bytes for its activations: use a smaller batch");
  // Operations know buffers by number until all of them have their places.
  for (std::size_t i = 0; i < makers_.size(); ++i)
    (i < of_one_image_ ? program_.singly_ : program_.operations_).push_back(makers_[i]());
  program_.image_floats_ = subnet_.resolution * subnet_.resolution * model_.preprocessing().channels;
}

const float* Builder::step(const std::string& activation) const {
  const auto& a = model_.activation(activation);
  return a.steps.at(a.used_bits(subnet_.bits));
}

QuantBounds Builder::bounds(const std::string& activation) const {
  const auto& a = model_.activation(activation);
  return quant_bounds(a.used_bits(subnet_.bits), a.is_signed);
}

const float* Builder::keep(const std::vector<float>& values) {
  const auto shared = std::make_shared<const std::vector<float>>(values);
  program_.kept_.push_back(shared);
  return shared->data();
}

const float* Builder::scales(const Codes& x, const packed::LayerCodes& w, int64_t k) {
  std::vector<float> all;
  for (int64_t i = 0; i < k; ++i) all.push_back(*x.step * w.steps[model_.per_channel_weights() ? i : 0]);
  return keep(all);
}

Builder::Codes Builder::quantized_image() {
  const int64_t r = subnet_.resolution, c = model_.preprocessing().channels, count = n_ * r * r * c;
  const Codes image{arena_.add(count), step("input"), r, c, true};
  const auto shape = make_fakequant_shape(count, bounds("input"));
  add({}, [=, this] {
    const auto* impl = &choose<FakeQuantForward>(Backend::cpu, shape);
    return [=, to = at(image.buffer)](const Pass& p) {
      impl->launch(shape, {p.images, image.step, nullptr, p.at<void>(to)}, {});
      p.observe("input", p.at<void>(to), count);
    };
  });
  return image;
}

Builder::Sum Builder::run(const packed::BlockWalk& block, const Sum& x, int64_t gather) {
  Codes y = x.codes;
  for (std::size_t i = 0; i + 1 < block.convs.size(); ++i)
    y = sum(conv(y, block.convs[i]), nullptr, nullptr, block.name + ".inner" + std::to_string(i + 1),
            {true, false})
            .codes;
  const Conv last = conv(y, block.convs.back());
  const std::string name = block.name + ".output";
  gather_ = gather;
  Sum result;
  if (block.projection) {
    const Conv projected = conv(x.codes, *block.projection);
    result = sum(last, &projected, nullptr, name, block.forms);
  } else {
    result = sum(last, nullptr, &x, name, block.forms);
  }
  gather_ = 0;
  return result;
}

void Builder::classify(const Sum& x) {
  const bool floats = model_.residual() == Residual::keep_float;
  const Codes& from = x.identity;
  const int64_t c = from.c, count = n_ * c;
  auto pool = make_pool_shape(n_, from.size, from.size, c, 1, 1, 0);
  if (!floats) pool.type = RTFQ_U8;
  const Buffer pooled = arena_.add(count * 4), features = arena_.add(count);
  const Buffer source = floats ? x.values : from.buffer;
  const auto quant = make_fakequant_shape(count, bounds("features"));
  const float *features_step = step("features"), *from_step = from.step;
  add({source}, [=, this] {
    const auto* mean = &choose<AveragePoolForward>(Backend::cpu, pool);
    const auto* quantize = &choose<FakeQuantForward>(Backend::cpu, quant);
    return [=, read = at(source), means = at(pooled), to = at(features)](const Pass& p) {
      auto* values = p.at<float>(means);
      mean->launch(pool, {p.at<void>(read), values}, {});
      if (!floats)
        for (int64_t i = 0; i < count; ++i) values[i] *= *from_step;
      quantize->launch(quant, {values, features_step, nullptr, p.at<void>(to)}, {});
      p.observe("features", p.at<void>(to), count);
    };
  });

  linear({features, features_step, 1, c, false, bounds("features").qp});
}

// A convolution of one pixel where that kernel is fast: fma(sum - 0, 1, bias) rounds as sum + bias does.
void Builder::linear(const Codes& x) {
  const packed::Layer& layer = model_.layer("classifier");
  const auto k = static_cast<int64_t>(model_.classes().size());
  const float* scale = scales(x, layer.codes.at(layer.used_bits(subnet_.bits)), k);
  const float* bias = model_.classifier_bias();
  const auto one_pass =
      with_input_bound(make_convquant_shape(with_types(make_conv2d_shape(n_, 1, 1, x.c, k, 1, 1, 0, x.c),
                                                       RTFQ_U8, RTFQ_S8, RTFQ_F32)),
                       x.qp);
  if (const auto* impl = fused(one_pass)) {
    const auto all = [&](float value) {
      return keep(std::vector<float>(static_cast<std::size_t>(k), value));
    };
    const Conv conv{x, 0, one_pass.conv, 1, k, scale, all(0.0f), all(1.0f), bias};
    const Laid weights = lay_out("classifier", k, x.c, *impl, one_pass);
    const Buffer workspace = arena_.add(static_cast<int64_t>(impl->workspace(one_pass)));
    add({x.buffer}, [=, this] {
      return [=, fixed = fixed_args(conv, weights), from = at(x.buffer),
              scratch = at(workspace)](const Pass& p) {
        ConvQuantArgs args = fixed;
        args.x = p.at<void>(from), args.workspace = p.at<void>(scratch), args.y = p.logits;
        impl->launch(one_pass, args, {});
      };
    });
    return;
  }
  const auto shape = with_types(make_linear_shape(n_, x.c, k, x.c), RTFQ_U8, RTFQ_S8, RTFQ_F32);
  const auto* impl = &choose<LinearForward>(Backend::cpu, shape);
  const Laid weights = lay_out("classifier", k, x.c, *impl, shape);
  const Buffer workspace = arena_.add(static_cast<int64_t>(impl->workspace(shape)));
  add({x.buffer}, [=, this] {
    return [=, read = at(x.buffer), scratch = at(workspace), w = weights.data.get()](const Pass& p) {
      impl->launch(shape, {p.at<void>(read), w, bias, p.logits, p.at<void>(scratch), scale}, {});
    };
  });
}

}  // namespace rtfq::deploy
