// The same kernels as evaluation's (models/supernet_codes.cpp), on memory that was laid out beforehand.
#include "models/deploy/program.h"

#include <stdexcept>

#include "kernels/conv2d.h"
#include "kernels/fakequant.h"
#include "kernels/linear.h"
#include "kernels/normquant.h"
#include "kernels/pool.h"
#include "models/deploy/arena.h"

namespace rtfq::deploy {
namespace {

using namespace kernels;
using Buffer = Arena::Buffer;

constexpr int64_t max_arena_bytes = int64_t{1} << 36;

/// Codes of an activation, in the arena.
struct Codes {
  Buffer buffer = 0;
  const float* step = nullptr;
  int64_t size = 0, c = 0;  ///< size x size pixels
  bool is_signed = false;
};

/// A convolution's result and its norm.
struct Summand {
  Buffer y = 0;
  int64_t size = 0, c = 0;
  const float *mean, *factor, *shift;
};

/// The forms of a block's result that are read later.
struct Sum {
  Codes codes, identity;
  Buffer values = 0;
};

}  // namespace

class Builder {
 public:
  Builder(Program& program, const packed::Model& model, Weights& weights)
      : program_(program),
        model_(model),
        weights_(weights),
        walk_(model.walk_of(program.subnet_)),
        subnet_(model.subnets()[program.subnet_].subnet),
        n_(program.batch_) {}

  void build() {
    const Codes image = quantized_image();
    const Summand stem = convolve(image, 0);
    Sum x = walk_.stem_pool ? pooled_sum(stem) : sum(stem, nullptr, nullptr, "stem.output", walk_.stem);
    for (const packed::BlockWalk& block : walk_.blocks) x = run(block, x);
    classify(x);
    program_.arena_bytes_ = arena_.place();
    if (program_.arena_bytes_ > max_arena_bytes)
      throw std::runtime_error("[deploy] " + id(subnet_) + " with a batch of " + std::to_string(n_) +
                               " needs " + std::to_string(program_.arena_bytes_) +
                               " bytes for its activations: use a smaller batch");
    // Operations know buffers by number until all of them have their places.
    for (auto& make : makers_) program_.operations_.push_back(make());
  }

 private:
  using Operation = Program::Operation;
  using Pass = Program::Pass;

  const float* step(const std::string& activation) const {
    const auto& a = model_.activation(activation);
    return a.steps.at(a.used_bits(subnet_.bits));
  }
  QuantBounds bounds(const std::string& activation) const {
    const auto& a = model_.activation(activation);
    return quant_bounds(a.used_bits(subnet_.bits), a.is_signed);
  }
  /// Floats that live as long as the program.
  const float* keep(const std::vector<float>& values) {
    const auto shared = std::make_shared<const std::vector<float>>(values);
    program_.kept_.push_back(shared);
    return shared->data();
  }
  const float* ones(int64_t count) { return keep(std::vector<float>(static_cast<std::size_t>(count), 1.0f)); }
  int64_t at(Buffer buffer) const { return arena_.offset(buffer); }

  /// Step of x times each row's of w, as evaluation rounds it.
  const float* scales(const Codes& x, const packed::LayerCodes& w, int64_t k) {
    std::vector<float> all;
    for (int64_t i = 0; i < k; ++i) all.push_back(*x.step * w.steps[model_.per_channel_weights() ? i : 0]);
    return keep(all);
  }

  template <class F>
  void add(std::initializer_list<Buffer> reads, F make) {
    arena_.operation(reads);
    makers_.push_back(make);
  }

  Codes quantized_image() {
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

  Summand convolve(const Codes& x, std::size_t index) {
    const ConvPlan& conv = walk_.convs[index];
    const packed::Layer& layer = model_.layer(conv.name);
    const auto codes = model_.corner(layer, subnet_.bits, conv.k, conv.c);
    const auto shape = with_types(make_conv2d_shape(n_, x.size, x.size, conv.c, conv.k, conv.filter,
                                                    conv.stride, conv.filter / 2, conv.c),
                                  x.is_signed ? RTFQ_S8 : RTFQ_U8, RTFQ_S8, RTFQ_F32);
    const auto* impl = &choose<Conv2dForward>(Backend::cpu, shape);
    const std::size_t packed_bytes = impl->packed(shape);
    const auto weights = weights_.keep(packed_bytes ? packed_bytes : codes.size(), [&](void* to) {
      if (packed_bytes)
        impl->pack(shape, codes.data(), to, {});
      else
        std::copy(codes.begin(), codes.end(), static_cast<int8_t*>(to));
    });
    program_.kept_.push_back(weights);
    const float* scale = scales(x, layer.codes.at(layer.used_bits(subnet_.bits)), conv.k);
    const int64_t size = output_height(shape);
    const packed::Norms norms = model_.norms_of(program_.subnet_);
    const int64_t first = walk_.norm_offsets[index];
    const Summand result{arena_.add(n_ * size * size * conv.k * 4),
                         size,
                         conv.k,
                         norms.mean + first,
                         norms.factor + first,
                         norms.shift + first};
    const Buffer workspace = arena_.add(static_cast<int64_t>(impl->workspace(shape)));
    add({x.buffer}, [=, this] {
      return [=, from = at(x.buffer), to = at(result.y), w = weights.get(),
              scratch = at(workspace)](const Pass& p) {
        impl->launch(shape, {p.at<void>(from), w, p.at<void>(to), p.at<void>(scratch), scale}, {});
      };
    });
    return result;
  }

  /// The factor is 1/sqrt(variance + epsilon) * scale with both of these chosen so that it is `factor`
  /// exactly.
  BatchNormShape norm_shape(const Summand& y) const {
    BatchNormShape shape = make_batchnorm_shape(n_, y.size * y.size, y.c);
    shape.epsilon = 0;
    return shape;
  }

  Sum sum(const Summand& main, const Summand* other, const Sum* identity, const std::string& name,
          packed::SumForms forms) {
    const Residual residual = model_.residual();
    const int64_t count = n_ * main.size * main.size * main.c;
    const bool eight = forms.identity && residual == Residual::eight_bits,
               values = forms.identity && residual == Residual::keep_float;
    const std::string identity_name = name + ".identity";
    // What the pass writes first: the codes, or the identity's where nothing reads the others.
    const std::string first_name = forms.codes || values ? name : identity_name;
    Sum result;
    const Buffer first = arena_.add(count);
    const Buffer second = eight && forms.codes ? arena_.add(count) : values ? arena_.add(4 * count) : first;
    const float* unit = keep({1.0f});
    const bool has_step = forms.codes || !values;  // else the codes are made and never read
    const float* first_step = has_step ? step(first_name) : unit;
    if (forms.codes) result.codes = {first, first_step, main.size, main.c, false};
    if (eight) result.identity = {second, step(identity_name), main.size, main.c, false};
    if (values) result.values = second, result.identity = {second, nullptr, main.size, main.c, false};
    if (residual == Residual::codes && forms.identity) result.identity = result.codes;

    const rtfq_residual kind = other                              ? RTFQ_RESIDUAL_NORM
                               : !identity                        ? RTFQ_RESIDUAL_NONE
                               : residual == Residual::keep_float ? RTFQ_RESIDUAL_VALUES
                                                                  : RTFQ_RESIDUAL_CODES;
    const rtfq_identity form = values                 ? RTFQ_IDENTITY_VALUES
                               : eight && forms.codes ? RTFQ_IDENTITY_CODES
                                                      : RTFQ_IDENTITY_NONE;
    const int32_t qp = has_step ? bounds(first_name).qp : 255;
    auto shape = make_normquant_shape(make_batchnorm_shape(n_, main.size * main.size, main.c), kind, form, qp,
                                      form == RTFQ_IDENTITY_CODES ? bounds(identity_name).qp : 255);
    shape.norm = norm_shape(main);
    const float* variance = ones(main.c);
    const Summand second_norm = other ? *other : main;
    const Buffer read =
        identity ? (residual == Residual::keep_float ? identity->values : identity->identity.buffer)
                 : second_norm.y;
    const float* residual_step = kind == RTFQ_RESIDUAL_CODES ? identity->identity.step : nullptr;
    const float* identity_step = form == RTFQ_IDENTITY_CODES ? step(identity_name) : nullptr;
    add({main.y, read}, [=, this] {
      const auto* impl = &choose<NormQuantForward>(Backend::cpu, shape);
      return [=, y = at(main.y), r = at(read), to = at(first), also = at(second)](const Pass& p) {
        NormQuantForwardArgs args{};
        const auto input = [&](const Summand& s, const void* x) {
          NormQuantInput in{};
          in.x = x;
          in.mean = s.mean;
          in.variance = variance;
          in.scale[0] = s.factor;
          in.shift[0] = s.shift;
          return in;
        };
        args.in.main = input(main, p.at<void>(y));
        if (kind == RTFQ_RESIDUAL_NORM)
          args.in.other = input(second_norm, p.at<void>(r));
        else if (kind != RTFQ_RESIDUAL_NONE)
          args.in.residual = p.at<void>(r);
        args.in.residual_step = residual_step;
        args.in.step = first_step;
        args.in.identity_step = identity_step;
        args.codes = p.at<uint8_t>(to);
        args.identity = form == RTFQ_IDENTITY_NONE ? nullptr : p.at<void>(also);
        impl->launch(shape, args, {});
        if (has_step) p.observe(first_name, p.at<void>(to), count);
        if (form == RTFQ_IDENTITY_CODES) p.observe(identity_name, p.at<void>(also), count);
      };
    });
    return result;
  }

  /// The stem's sum before its max pooling stays f32; the ReLU and the maximum may change places.
  Sum pooled_sum(const Summand& stem) {
    const bool values = model_.residual() == Residual::keep_float && walk_.stem.identity;
    const auto norm = norm_shape(stem);
    const auto pool = make_pool_shape(n_, stem.size, stem.size, stem.c, 3, 2, 1);
    const int64_t size = output_height(pool), count = n_ * size * size * stem.c;
    const float* variance = ones(stem.c);
    const Buffer z = arena_.add(count * 4);
    add({stem.y}, [=, this] {
      const auto* normalize = &choose<BatchNormNormalize>(Backend::cpu, norm);
      const auto* maximum = &choose<MaxPoolForward>(Backend::cpu, pool);
      return [=, y = at(stem.y), to = at(z)](const Pass& p) {
        BatchNormNormalizeArgs args{};
        args.x = args.y = p.at<void>(y);
        args.mean = stem.mean;
        args.variance = variance;
        args.scale[0] = stem.factor;
        args.shift[0] = stem.shift;
        args.relu = values;
        normalize->launch(norm, args, {});
        maximum->launch(pool, {p.at<void>(y), p.at<void>(to), nullptr}, {});
      };
    });
    Sum result;
    const auto quantize = [&](const std::string& name) {
      const Codes codes{arena_.add(count), step(name), size, stem.c, false};
      const auto shape = make_fakequant_shape(count, bounds(name));
      add({z}, [=, this] {
        const auto* impl = &choose<FakeQuantForward>(Backend::cpu, shape);
        return [=, from = at(z), to = at(codes.buffer)](const Pass& p) {
          impl->launch(shape, {p.at<void>(from), codes.step, nullptr, p.at<void>(to)}, {});
          p.observe(name, p.at<void>(to), count);
        };
      });
      return codes;
    };
    result.codes = quantize("stem.output");
    result.identity = result.codes;
    if (walk_.stem.identity && model_.residual() == Residual::eight_bits)
      result.identity = quantize("stem.output.identity");
    if (values) result.values = z;
    return result;
  }

  Sum run(const packed::BlockWalk& block, const Sum& x) {
    Codes y = x.codes;
    for (std::size_t i = 0; i + 1 < block.convs.size(); ++i)
      y = sum(convolve(y, block.convs[i]), nullptr, nullptr, block.name + ".inner" + std::to_string(i + 1),
              {true, false})
              .codes;
    const Summand last = convolve(y, block.convs.back());
    if (!block.projection) return sum(last, nullptr, &x, block.name + ".output", block.forms);
    const Summand projected = convolve(x.codes, *block.projection);
    return sum(last, &projected, nullptr, block.name + ".output", block.forms);
  }

  void classify(const Sum& x) {
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

    const packed::Layer& layer = model_.layer("classifier");
    const auto k = static_cast<int64_t>(model_.classes().size());
    const auto codes = model_.corner(layer, subnet_.bits, k, c);
    const auto weights = weights_.keep(
        codes.size(), [&](void* to) { std::copy(codes.begin(), codes.end(), static_cast<int8_t*>(to)); });
    program_.kept_.push_back(weights);
    const float* scale =
        scales({features, features_step, 1, c, false}, layer.codes.at(layer.used_bits(subnet_.bits)), k);
    const auto shape = with_types(make_linear_shape(n_, c, k, c), RTFQ_U8, RTFQ_S8, RTFQ_F32);
    const auto* impl = &choose<LinearForward>(Backend::cpu, shape);
    const Buffer workspace = arena_.add(static_cast<int64_t>(impl->workspace(shape)));
    const float* bias = model_.classifier_bias();
    add({features}, [=, this] {
      return [=, read = at(features), scratch = at(workspace), w = weights.get()](const Pass& p) {
        impl->launch(shape, {p.at<void>(read), w, bias, p.logits, p.at<void>(scratch), scale}, {});
      };
    });
  }

  Program& program_;
  const packed::Model& model_;
  Weights& weights_;
  packed::Walk walk_;
  Subnet subnet_;
  int64_t n_;
  Arena arena_;
  std::vector<std::function<Operation()>> makers_;
};

Program::Program(const packed::Model& model, std::size_t subnet, int64_t batch, Weights& weights)
    : subnet_(subnet), batch_(batch) {
  if (subnet >= model.subnets().size())
    throw std::invalid_argument("[deploy] the model has " + std::to_string(model.subnets().size()) +
                                " subnets; there is no number " + std::to_string(subnet));
  if (batch < 1 || batch > 65536)
    throw std::invalid_argument("[deploy] a batch has 1 to 65536 images, not " + std::to_string(batch));
  Builder(*this, model, weights).build();
}

void Program::run(void* arena, const float* images, float* logits, const Observer* observer) const {
  const Pass pass{static_cast<std::byte*>(arena), images, logits, observer};
  for (const Operation& operation : operations_) operation(pass);
}

}  // namespace rtfq::deploy
