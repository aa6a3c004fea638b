#include "models/supernet.h"

#include <fnmatch.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <stdexcept>

#include "engine/random.h"

namespace rtfq {
namespace {

/// Normal values for a weight, one stream a parameter.
Tensor he_normal(Dims dims, uint64_t seed, uint64_t index, double fan) {
  Random random(seed, Purpose::initialization, index);
  std::vector<float> values(static_cast<std::size_t>(dims.product()));
  const float deviation = static_cast<float>(std::sqrt(2.0 / fan));
  for (float& value : values) value = deviation * random.normal();
  return Tensor::from(values, dims);
}

}  // namespace

Residual parse_residual(const std::string& text) {
  if (text == "float") return Residual::keep_float;
  if (text == "8bit") return Residual::eight_bits;
  if (text == "codes") return Residual::codes;
  throw std::invalid_argument("[model] residual: expected float, 8bit or codes, got '" + text + "'");
}

BitsException parse_bits_exception(const std::string& text) {
  const std::size_t equals = text.rfind('=');
  int bits = 0;
  if (equals != text.npos && equals > 0) {
    const char* last = text.data() + text.size();
    const auto [end, error] = std::from_chars(text.data() + equals + 1, last, bits);
    if (error == std::errc() && end == last && bits >= 2 && bits <= 8) return {text.substr(0, equals), bits};
  }
  throw std::invalid_argument(
      "[model] bits_exceptions: expected NAME=BITS with 2 to 8 bits, such as stage1.*=8, got '" + text + "'");
}

int own_bits(std::span<const BitsException> exceptions, const std::string& quantizer) {
  int bits = 0;
  for (const BitsException& exception : exceptions)
    if (!fnmatch(exception.pattern.c_str(), quantizer.c_str(), 0)) bits = exception.bits;
  return bits;
}

Supernet::Supernet(const SupernetOptions& options, uint64_t seed)
    : options_(options), spec_(resnet_spec(options.arch)), seed_(seed) {
  const memory::HeldBy by("parameters");
  options_.bank = checked(options.bank);
  require_distinct(spec_, options_.bank);
  const auto& bits = options_.bank.bits;
  const std::vector<int> fixed{options_.first_last_bits};
  const std::span<const int> ends =
      options_.first_last_bits ? std::span<const int>(fixed) : std::span<const int>(bits);

  input_ = make_quantizer("input", ends, {.is_signed = true, .bound = options_.image_bound});
  stem_ = make_conv("stem", options_.image_channels, spec_.stem_channels, spec_.stem_filter, 2, ends);
  stem_output_ = make_output("stem.output");
  int64_t c = spec_.stem_channels;
  for (std::size_t stage = 0; stage < spec_.blocks.size(); ++stage) {
    auto& blocks = stages_.emplace_back();
    const int64_t mid = spec_.channels[stage], out = spec_.stage_output(stage);
    for (int64_t i = 0; i < spec_.blocks[stage]; ++i) {
      const std::string name = "stage" + std::to_string(stage + 1) + ".block" + std::to_string(i);
      const int64_t stride = spec_.stride(stage, i);
      ResidualBlock& block = blocks.emplace_back();
      const auto conv = [&](int64_t in, int64_t k, int64_t filter, int64_t s) {
        const std::string number = std::to_string(block.convs.size() + 1);
        if (!block.convs.empty())
          block.inner.push_back(
              make_quantizer(name + ".inner" + std::to_string(block.convs.size()), bits, {}));
        block.convs.push_back(make_conv(name + ".conv" + number, in, k, filter, s, bits));
      };
      if (spec_.bottleneck) {
        conv(c, mid, 1, 1);
        conv(mid, mid, 3, stride);
        conv(mid, out, 1, 1);
      } else {
        conv(c, mid, 3, stride);
        conv(mid, out, 3, 1);
      }
      if (spec_.projects(stage, i))
        block.projection =
            std::make_unique<ElasticConv>(make_conv(name + ".projection", c, out, 1, stride, bits));
      block.output = make_output(name + ".output");
      c = out;
    }
  }
  features_ = make_quantizer("features", ends, {});
  // As torchvision's Linear: uniform within 1/sqrt(fan in); bias zero.
  Random random(seed_, Purpose::initialization, parameters_.size());
  std::vector<float> values(static_cast<std::size_t>(options_.classes * c));
  const float bound = 1.0f / std::sqrt(static_cast<float>(c));
  for (float& value : values) value = random.uniform(-bound, bound);
  classifier_ = std::make_unique<Parameter>("classifier.weight", ParameterKind::weight,
                                            Tensor::from(values, {options_.classes, c}));
  bias_ =
      std::make_unique<Parameter>("classifier.bias", ParameterKind::bias, Tensor::zeros({options_.classes}));
  adopt(classifier_.get());
  adopt(bias_.get());
  classifier_quantizer_ = make_quantizer("classifier", ends,
                                         {.weight = true,
                                          .is_signed = true,
                                          .symmetric = options_.symmetric_weights,
                                          .rows = options_.per_channel_weights ? options_.classes : 1});
  for (const BitsException& exception : options_.bits_exceptions) {
    const auto fits = [&](const Quantizer* q) {
      return !fnmatch(exception.pattern.c_str(), q->name().c_str(), 0);
    };
    if (std::none_of(quantizers_.begin(), quantizers_.end(), fits))
      throw std::invalid_argument(
          "[model] bits_exceptions: nothing is called '" + exception.pattern +
          "': names are input, stem, stem.output, stage1.block0.conv1, stage1.block0.inner1, "
          "stage1.block0.output, ..., features, classifier");
  }
}

Parameter* Supernet::adopt(Parameter* parameter) {
  parameters_.push_back(parameter);
  return parameter;
}

std::unique_ptr<Quantizer> Supernet::make_quantizer(const std::string& name, std::span<const int> bits,
                                                    QuantizerOptions options) {
  options.own_bits = own_bits(options_.bits_exceptions, name);
  options.init = options_.step_init;
  options.gradient = options_.step_gradient;
  auto quantizer = std::make_unique<Quantizer>(name, bits, options);
  for (const auto& [b, step] : quantizer->steps()) adopt(step.get());
  quantizers_.push_back(quantizer.get());
  return quantizer;
}

ElasticConv Supernet::make_conv(const std::string& name, int64_t c, int64_t k, int64_t filter, int64_t stride,
                                std::span<const int> bits) {
  ElasticConv conv;
  const double fan_out = static_cast<double>(k * filter * filter);
  conv.weight =
      std::make_unique<Parameter>(name + ".weight", ParameterKind::weight,
                                  he_normal({k, filter, filter, c}, seed_, parameters_.size(), fan_out));
  adopt(conv.weight.get());
  conv.stride = stride;
  conv.quantizer = make_quantizer(name, bits,
                                  {.weight = true,
                                   .is_signed = true,
                                   .symmetric = options_.symmetric_weights,
                                   .rows = options_.per_channel_weights ? k : 1});
  conv.norm = std::make_unique<SwitchableNorm>(name + ".norm", k, options_.bank, options_.domain_norms,
                                               options_.norm_affine, options_.norm_momentum);
  norms_.push_back(conv.norm.get());
  for (Parameter* parameter : conv.norm->parameters()) adopt(parameter);
  return conv;
}

OutputQuantizers Supernet::make_output(const std::string& name) {
  OutputQuantizers output;
  output.codes = make_quantizer(name, options_.bank.bits, {});
  const std::vector<int> eight{8};
  if (options_.residual == Residual::eight_bits)
    output.identity = make_quantizer(name + ".identity", eight, {});
  return output;
}

std::vector<std::pair<std::string, Tensor>> Supernet::buffers() const {
  std::vector<std::pair<std::string, Tensor>> all;
  for (SwitchableNorm* norm : norms_)
    for (auto& buffer : norm->buffers()) all.push_back(std::move(buffer));
  return all;
}

void Supernet::drop_prepared_weights() {
  stem_.kept = {};
  for (auto& stage : stages_)
    for (ResidualBlock& block : stage) {
      for (ElasticConv& conv : block.convs) conv.kept = {};
      if (block.projection) block.projection->kept = {};
    }
}

void Supernet::drop_gradients() {
  for (Parameter* parameter : parameters_) parameter->gradient = {};
}

void Supernet::copy_parameters(const Supernet& other) {
  if (parameters_.size() != other.parameters_.size())
    throw std::invalid_argument("[supernet] the two networks have different parameters");
  for (std::size_t i = 0; i < parameters_.size(); ++i)
    parameters_[i]->value.copy_from(other.parameters_[i]->value);
  weights_changed();
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (parameters_[i]->kind != ParameterKind::step) continue;
    parameters_[i]->forget_start();
    if (other.parameters_[i]->started()) parameters_[i]->start();
  }
}

void Supernet::values_loaded() {
  for (Parameter* parameter : parameters_) parameter->forget_start();
  weights_changed();
}

void Supernet::move_to(Device device) {
  if (device == device_) return;
  for (Parameter* parameter : parameters_) parameter->move_to(device);
  for (SwitchableNorm* norm : norms_) norm->move_to(device);
  device_ = device;
  weights_changed();
}

}  // namespace rtfq
