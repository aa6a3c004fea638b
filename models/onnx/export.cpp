#include "models/onnx/export.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <stdexcept>

#include "models/onnx/graph.h"

namespace rtfq::onnx {
namespace {

/// KRSC to KCRS.
template <class T>
std::vector<T> channels_first(std::span<const T> from, int64_t k, int64_t taps, int64_t c) {
  std::vector<T> to(from.size());
  for (int64_t o = 0; o < k; ++o)
    for (int64_t t = 0; t < taps; ++t)
      for (int64_t i = 0; i < c; ++i)
        to[static_cast<std::size_t>((o * c + i) * taps + t)] =
            from[static_cast<std::size_t>((o * taps + t) * c + i)];
  return to;
}

/// What differs between the forms of a network: weights, and what stands behind a sum.
class Form {
 public:
  explicit Form(Graph& graph) : g(graph) {}
  virtual ~Form() = default;
  /// Tensors of weights and bias.
  struct Weights {
    std::string weights, bias;
  };
  /// Of a convolution. `input`: the quantizer of what it reads. bias [k,1,1] if it is to be added by a node
  /// of its own.
  virtual Weights weights(const ConvPlan&, std::size_t index, const std::string& input, bool bias_apart) = 0;
  /// Whether the bias of a sum that goes to this quantizer (empty: elsewhere) is added by a node of its own.
  virtual bool bias_apart(const std::string& activation) const = 0;
  virtual Weights classifier(int64_t classes, int64_t features) = 0;
  /// The quantized (else rectified) form of x.
  virtual std::string activation(const std::string& name, const std::string& x) = 0;
  virtual std::string image(const std::string& x) = 0;
  virtual std::string features(const std::string& x) = 0;

 protected:
  Graph& g;
};

/// The walk of a subnet as nodes.
void build(Graph& g, Form& form, const packed::Walk& walk, Residual residual, int64_t classes) {
  const auto convolve = [&](const std::string& x, std::size_t index, const std::string& input,
                            const std::string& activation = {}) {
    const ConvPlan& conv = walk.convs[index];
    const bool apart = form.bias_apart(activation);
    const Form::Weights of = form.weights(conv, index, input, apart);
    std::vector<std::string> inputs{x, of.weights};
    if (!apart) inputs.push_back(of.bias);
    const int64_t pad = conv.filter / 2;
    const std::string y = g.node("Conv", conv.name + (apart ? ".products" : ""), inputs,
                                 {{"kernel_shape", std::vector<int64_t>{conv.filter, conv.filter}},
                                  {"strides", std::vector<int64_t>{conv.stride, conv.stride}},
                                  {"pads", std::vector<int64_t>{pad, pad, pad, pad}}});
    return apart ? g.node("Add", conv.name, {y, of.bias}) : y;
  };
  struct Sum {
    std::string codes, identity, quantizer;
  };
  const auto sum_forms = [&](const std::string& z, const std::string& name, packed::SumForms forms) {
    Sum sum;
    sum.quantizer = name;
    if (forms.codes) sum.codes = form.activation(name, z);
    if (!forms.identity) return sum;
    if (residual == Residual::codes)
      sum.identity = sum.codes;
    else if (residual == Residual::eight_bits)
      sum.identity = form.activation(name + ".identity", z);
    else
      sum.identity = g.node("Relu", name + ".identity", {z});
    return sum;
  };
  std::string z = convolve(form.image("images"), 0, "input");
  if (walk.stem_pool)
    z = g.node("MaxPool", "stem.pool", {g.node("Relu", "stem.relu", {z})},
               {{"kernel_shape", std::vector<int64_t>{3, 3}},
                {"strides", std::vector<int64_t>{2, 2}},
                {"pads", std::vector<int64_t>{1, 1, 1, 1}}});
  Sum x = sum_forms(z, "stem.output", walk.stem);
  for (const packed::BlockWalk& block : walk.blocks) {
    std::string y = x.codes, quantizer = x.quantizer;
    for (std::size_t i = 0; i + 1 < block.convs.size(); ++i) {
      const std::string name = block.name + ".inner" + std::to_string(i + 1);
      y = form.activation(name, convolve(y, block.convs[i], quantizer, name));
      quantizer = name;
    }
    const std::string last = convolve(y, block.convs.back(), quantizer);
    const std::string other =
        block.projection ? convolve(x.codes, *block.projection, x.quantizer) : x.identity;
    x = sum_forms(g.node("Add", block.name + ".sum", {last, other}), block.name + ".output", block.forms);
  }
  const std::string pooled = g.node("Flatten", "pooled", {g.node("GlobalAveragePool", "pool", {x.identity})},
                                    {{"axis", int64_t{1}}});
  const std::string features = form.features(pooled);
  const Form::Weights last = form.classifier(classes, walk.features);
  g.node("Gemm", "logits", {features, last.weights, last.bias}, {{"transB", int64_t{1}}});
  g.output("logits", {-1, classes});
}

class QuantizedForm : public Form {
 public:
  QuantizedForm(Graph& graph, const packed::Model& model, std::size_t subnet)
      : Form(graph),
        model_(model),
        walk_(model.walk_of(subnet)),
        norms_(model.norms_of(subnet)),
        bits_(model.subnets()[subnet].subnet.bits) {}

  Weights weights(const ConvPlan& conv, std::size_t index, const std::string& input,
                  bool bias_apart) override {
    const int64_t first = walk_.norm_offsets[index];
    const std::vector<int64_t> bias_dims =
        bias_apart ? std::vector<int64_t>{conv.k, 1, 1} : std::vector<int64_t>{conv.k};
    return folded(conv.name, {conv.k, conv.c, conv.filter, conv.filter}, bias_dims, input, [&](int64_t k) {
      const double factor = norms_.factor[first + k];
      return std::pair(factor, norms_.shift[first + k] - norms_.mean[first + k] * factor);
    });
  }
  /// ONNX Runtime computes a convolution in integers where 8-bit codes follow it at once, and rounds the bias
  /// of every Conv on codes to a whole sum, which is coarse beside a code of few bits: others it gets apart.
  bool bias_apart(const std::string& activation) const override {
    return activation.empty() || model_.activation(activation).used_bits(bits_) != 8;
  }
  Weights classifier(int64_t classes, int64_t features) override {
    return folded("classifier", {classes, features}, {classes}, "features", [&](int64_t k) {
      return std::pair(1.0, static_cast<double>(model_.classifier_bias()[k]));
    });
  }
  std::string activation(const std::string& name, const std::string& x) override {
    const int bits = model_.activation(name).used_bits(bits_);
    if (bits == 8) return pair(name, g.node("Relu", name + ".relu", {x}));
    const float bounds[] = {0.0f, static_cast<float>((1 << bits) - 1) * step(name)};
    return pair(name, clipped(name, x, bounds));
  }
  std::string image(const std::string& x) override {
    const int bits = model_.activation("input").used_bits(bits_);
    if (bits == 8) return pair("input", x);
    const float bounds[] = {-static_cast<float>(1 << (bits - 1)) * step("input"),
                            static_cast<float>((1 << (bits - 1)) - 1) * step("input")};
    return pair("input", clipped("input", x, bounds));
  }
  std::string features(const std::string& x) override {
    const int bits = model_.activation("features").used_bits(bits_);
    const float bounds[] = {0.0f, static_cast<float>((1 << bits) - 1) * step("features")};
    return pair("features", bits == 8 ? x : clipped("features", x, bounds));
  }

 private:
  float step(const std::string& name) const {
    const auto& a = model_.activation(name);
    return *a.steps.at(a.used_bits(bits_));
  }
  std::string clipped(const std::string& name, const std::string& x, const float (&bounds)[2]) {
    return g.node("Clip", name + ".clip",
                  {x, g.constant(name + ".low", std::span(bounds, 1), {}),
                   g.constant(name + ".high", std::span(bounds + 1, 1), {})});
  }
  /// x quantized and dequantized; the constants of a name are made once.
  std::string pair(const std::string& name, const std::string& x) {
    const float scale[] = {step(name)};
    const std::string s = g.constant(name + ".step", scale, {});
    const int8_t zero_signed[] = {0};
    const uint8_t zero[] = {0};
    const std::string z = model_.activation(name).is_signed
                              ? g.constant(name + ".zero", std::span<const int8_t>(zero_signed), {})
                              : g.constant(name + ".zero", std::span<const uint8_t>(zero), {});
    return g.node("DequantizeLinear", name, {g.node("QuantizeLinear", name + ".codes", {x, s, z}), s, z});
  }

  /// Weights [k,c,...] as codes with a step for each output channel into which a factor went, and the bias. A
  /// negative factor turns the signs of a channel's codes; a code of -128, which has no opposite, becomes
  /// 127.
  template <class Affine>
  Weights folded(const std::string& name, const std::vector<int64_t>& dims,
                 const std::vector<int64_t>& bias_dims, const std::string& input, const Affine& affine) {
    const int64_t k = dims[0], c = dims[1];
    const packed::Layer& layer = model_.layer(name);
    std::vector<int8_t> codes = model_.corner(layer, bits_, k, c);
    const int64_t taps = static_cast<int64_t>(codes.size()) / (k * c);
    const float* steps = layer.codes.at(layer.used_bits(bits_)).steps;
    constexpr double most = 1 << 30;  // of a bias in its sums: a runtime may round it to one of 32 bits
    std::vector<float> scales, bias;
    for (int64_t o = 0; o < k; ++o) {
      const auto [factor, offset] = affine(o);
      const double exact = factor * steps[model_.per_channel_weights() ? o : 0],
                   scale = std::max({std::abs(exact), std::abs(offset) / (most * step(input)), 1e-30});
      for (int64_t i = 0; i < taps * c; ++i) {
        int8_t& code = codes[static_cast<std::size_t>(o * taps * c + i)];
        code = static_cast<int8_t>(std::clamp(std::nearbyint(code * exact / scale), -128.0, 127.0));
      }
      scales.push_back(static_cast<float>(scale));
      bias.push_back(static_cast<float>(offset));
    }
    const auto ordered = channels_first(std::span<const int8_t>(codes), k, taps, c);
    const std::vector<int8_t> zeros(static_cast<std::size_t>(k));
    return {g.node("DequantizeLinear", name + ".weight",
                   {g.constant(name + ".weight.codes", ordered, dims),
                    g.constant(name + ".weight.steps", scales, {k}),
                    g.constant(name + ".weight.zeros", std::span<const int8_t>(zeros), {k})},
                   {{"axis", int64_t{0}}}),
            g.constant(name + ".bias", bias, bias_dims)};
  }

  const packed::Model& model_;
  packed::Walk walk_;
  packed::Norms norms_;
  int bits_;
};

class FloatForm : public Form {
 public:
  FloatForm(Graph& graph, const Supernet& network, const Subnet& subnet, Domain domain)
      : Form(graph), at_(place(network.options().bank, subnet)) {
    for (const Parameter* p : network.parameters()) tensors_[p->name] = p->value;
    for (const auto& [name, tensor] : network.buffers()) tensors_[name] = tensor;
    char architecture[64];
    std::snprintf(architecture, sizeof architecture, ".w%g.d%g", subnet.width, subnet.depth);
    set_ = (network.options().domain_norms ? std::string(".") + to_string(domain) : "") + architecture;
  }

  bool bias_apart(const std::string&) const override { return false; }
  Weights weights(const ConvPlan& conv, std::size_t, const std::string&, bool) override {
    const Tensor& full = tensors_.at(conv.name + ".weight");
    const std::string prefix = conv.name + ".norm" + set_, slot = ".slot" + std::to_string(at_.slot);
    if (tensors_.at(prefix + ".count").as<float>()[at_.slot] == 0)
      throw std::runtime_error("[export] " + conv.name +
                               " has no norm statistics at full precision: export a run that was trained so "
                               "(bank.bits=[32], or method source_only)");
    const bool own = tensors_.count(prefix + slot + ".scale") > 0;
    const float* scale = tensors_.at(prefix + (own ? slot : "") + ".scale").as<float>();
    const float* shift = tensors_.at(prefix + (own ? slot : "") + ".shift").as<float>();
    const float* mean = tensors_.at(prefix + ".mean").as<float>() + at_.slot * conv.k;
    const float* variance = tensors_.at(prefix + ".variance").as<float>() + at_.slot * conv.k;
    const int64_t taps = conv.filter * conv.filter;
    std::vector<float> values, bias;
    for (int64_t o = 0; o < conv.k; ++o) {
      const double factor = scale[o] / std::sqrt(static_cast<double>(variance[o]) + norm_epsilon);
      bias.push_back(static_cast<float>(shift[o] - mean[o] * factor));
      for (int64_t t = 0; t < taps; ++t)
        for (int64_t i = 0; i < conv.c; ++i)
          values.push_back(static_cast<float>(full.as<float>()[(o * taps + t) * full.dim(3) + i] * factor));
    }
    const auto ordered = channels_first(std::span<const float>(values), conv.k, taps, conv.c);
    return {g.constant(conv.name + ".weight", ordered, {conv.k, conv.c, conv.filter, conv.filter}),
            g.constant(conv.name + ".bias", bias, {conv.k})};
  }
  Weights classifier(int64_t classes, int64_t features) override {
    const Tensor& full = tensors_.at("classifier.weight");
    std::vector<float> values;
    for (int64_t o = 0; o < classes; ++o)
      values.insert(values.end(), full.as<float>() + o * full.dim(1),
                    full.as<float>() + o * full.dim(1) + features);
    const Tensor& bias = tensors_.at("classifier.bias");
    return {
        g.constant("classifier.weight", values, {classes, features}),
        g.constant("classifier.bias",
                   std::span<const float>(bias.as<float>(), static_cast<std::size_t>(classes)), {classes})};
  }
  std::string activation(const std::string& name, const std::string& x) override {
    return g.node("Relu", name, {x});
  }
  std::string image(const std::string& x) override { return x; }
  std::string features(const std::string& x) override { return x; }

 private:
  SubnetPlace at_;
  std::string set_;
  std::map<std::string, Tensor> tensors_;
};

}  // namespace

std::string quantized(const packed::Model& model, std::size_t subnet) {
  const Subnet& of = model.subnets().at(subnet).subnet;
  Graph g("rtfq " + id(of));
  g.input("images", {-1, model.preprocessing().channels, of.resolution, of.resolution});
  QuantizedForm form(g, model, subnet);
  build(g, form, model.walk_of(subnet), model.residual(), static_cast<int64_t>(model.classes().size()));
  std::string classes;
  for (const std::string& name : model.classes()) classes += (classes.empty() ? "" : "\n") + name;
  return g.model("rtfq", {{"subnet", id(of)}, {"classes", classes}});
}

std::string full_precision(const Supernet& network, Subnet subnet, Domain domain) {
  subnet.bits = float_bits;
  const SupernetOptions& options = network.options();
  Graph g("rtfq " + id(subnet));
  g.input("images", {-1, options.image_channels, subnet.resolution, subnet.resolution});
  FloatForm form(g, network, subnet, domain);
  // At full precision the identity path reads what the convolutions read.
  build(g, form,
        packed::walk(network.spec(), subnet, options.bank.multiple, options.image_channels, Residual::codes),
        Residual::codes, options.classes);
  return g.model("rtfq", {{"subnet", id(subnet)}});
}

}  // namespace rtfq::onnx
