#include "models/checkpoint/recognize.h"

#include <algorithm>
#include <charconv>
#include <stdexcept>

#include "models/checkpoint/layers.h"

namespace rtfq::checkpoint {
namespace {

using formats::ArrayView;
using formats::shape_text;

[[noreturn]] void refuse(const std::string& why) {
  throw std::runtime_error(why);
}

std::string supported() {
  std::string names;
  for (const std::string& name : resnet_names()) names += (names.empty() ? "" : ", ") + name;
  return names;
}

/// The dictionary with questions about it.
class Tensors {
 public:
  explicit Tensors(const StateDict& dict) : dict_(dict) {}
  const ArrayView* find(const std::string& name) const {
    const auto found = dict_.tensors.find(name);
    return found == dict_.tensors.end() ? nullptr : &found->second;
  }
  bool is_conv(const std::string& name) const {
    const ArrayView* array = find(name);
    return array && array->shape.size() == 4;
  }
  /// The first name that has `part` in it, or "".
  std::string with(const std::string& part) const {
    for (const auto& [name, array] : dict_.tensors)
      if (name.find(part) != name.npos) return name;
    return {};
  }
  /// Blocks of each stage: layer1.0, layer1.1, ...
  std::vector<int64_t> blocks() const {
    std::vector<int64_t> counts;
    for (int stage = 1;; ++stage) {
      int64_t count = 0;
      while (find("layer" + std::to_string(stage) + "." + std::to_string(count) + ".conv1.weight")) ++count;
      if (count == 0) return counts;
      counts.push_back(count);
    }
  }

 private:
  const StateDict& dict_;
};

/// "resnet50" from blocks and convolutions in them, as the family counts.
std::string family_name(const std::vector<int64_t>& blocks, bool bottleneck) {
  int64_t layers = 2;
  for (const int64_t count : blocks) layers += count * (bottleneck ? 3 : 2);
  return "resnet" + std::to_string(layers);
}

[[noreturn]] void refuse_relative(const std::string& name, const std::string& difference) {
  refuse("it is a " + name + ", another network than torchvision's ResNets: " + difference +
         ". Supported: " + supported());
}

/// Names of ResNets that share most tensors' names with torchvision's.
void refuse_relatives(const Tensors& tensors, const std::string& family, bool bottleneck) {
  struct Mark {
    const char *part, *name, *difference;
  };
  static constexpr Mark marks[] = {
      {".se.conv.", "ECA-ResNet (ecaresnet)",
       "its blocks weight their channels (efficient channel attention)"},
      {".conv1.conv.", "SKNet or a ResNet of other blocks", "its blocks are made of other layers"},
      {".se.", "SE-ResNet (seresnet)", "its blocks weight their channels (squeeze and excitation)"},
      {".se_module.", "SE-ResNet (seresnet)", "its blocks weight their channels (squeeze and excitation)"},
      {".eca.", "ECA-ResNet (ecaresnet)", "its blocks weight their channels (efficient channel attention)"},
      {".ca.", "CBAM-ResNet", "its blocks have channel attention"},
      {".attn", "ResNet with attention", "its blocks have attention"},
      {".convs.", "Res2Net", "its blocks split their channels into scales"},
      {".conv2.conv.", "ResNeSt or SKNet", "its blocks have split attention"},
      {".conv2.paths.", "SKNet", "its blocks choose between kernels"},
      {".aa.", "ResNet with blurred downsampling", "it blurs before it strides"},
      {"lora_", "ResNet with adapters", "merge them into the weights first"}};
  for (const Mark& mark : marks)
    if (const std::string name = tensors.with(mark.part); !name.empty())
      refuse_relative(mark.name, std::string(mark.difference) + ", as " + name + " shows");
  const bool pooled_shortcut = tensors.is_conv("layer2.0.downsample.1.weight");
  if (tensors.is_conv("conv1.0.weight"))
    refuse_relative(family + (pooled_shortcut ? "d" : "c/s/t"),
                    pooled_shortcut
                        ? "its stem is three 3x3 convolutions and its shortcuts pool before they project"
                        : "its stem is three 3x3 convolutions");
  if (pooled_shortcut)
    refuse_relative(family + " with pooled shortcuts", "its shortcuts pool before they project");
  if (!tensors.with("_packed_params").empty() || !tensors.with(".zero_point").empty())
    refuse_relative("quantized " + family,
                    "its weights are packed integers: give the network before quantization");
  const ArrayView* middle = tensors.find("layer1.0.conv2.weight");
  if (bottleneck && middle && middle->shape.size() == 4 && middle->shape[1] > 0 &&
      middle->shape[0] != middle->shape[1]) {
    const int64_t groups = middle->shape[0] / middle->shape[1];
    refuse_relative("ResNeXt (resnext" + family.substr(6) + "_" + std::to_string(groups) + "x" +
                        std::to_string(middle->shape[1]) + "d)",
                    "its 3x3 convolutions have " + std::to_string(groups) + " groups");
  }
  const ArrayView* stem = tensors.find("conv1.weight");
  if (bottleneck && middle && stem && middle->shape.size() == 4 && stem->shape.size() == 4 &&
      middle->shape[0] == 2 * stem->shape[0])
    refuse_relative("wide ResNet (wide_" + family + "_2)", "its 3x3 convolutions have twice the channels");
  if (!tensors.find("bn1.running_mean")) {
    const bool group_norm = tensors.find("bn1.weight") || tensors.find("norm1.weight");
    refuse_relative(
        group_norm ? family + " without batch statistics (such as resnet50_gn)" : family + " without norms",
        "it has no bn1.running_mean");
  }
}

/// For state dicts without a ResNet's stem and blocks.
[[noreturn]] void refuse_stranger(const StateDict& dict) {
  struct Mark {
    const char *begin, *name;
  };
  static constexpr Mark marks[] = {{"stem.conv", "a ResNetV2, RegNet or another network of timm"},
                                   {"stages.", "a ResNetV2, ConvNeXt or another network of stages"},
                                   {"features.", "a VGG, DenseNet or MobileNet"},
                                   {"blocks.", "an EfficientNet or a vision transformer"},
                                   {"patch_embed", "a vision transformer"},
                                   {"conv_stem", "an EfficientNet"},
                                   {"visual.", "a CLIP"}};
  for (const auto& [name, array] : dict.tensors)
    for (const Mark& mark : marks)
      if (name.starts_with(mark.begin))
        refuse("it looks like " + std::string(mark.name) + " (it has " + formats::shown_name(name) +
               "), not a ResNet. Supported: " + supported());
  refuse("it is not a ResNet: conv1.weight or layer1.0.conv1.weight is missing; it has " +
         formats::shown_name(dict.tensors.begin()->first) + " and " +
         std::to_string(dict.tensors.size() - 1) + " more tensors. Supported: " + supported());
}

/// The spec of resnet_names() with these blocks, or its narrowed form.
ResNetSpec spec_of(const Tensors& tensors, const std::vector<int64_t>& blocks, bool bottleneck) {
  const ArrayView& stem = *tensors.find("conv1.weight");
  if (stem.shape.size() != 4)
    refuse("conv1.weight has the shape " + shape_text(stem.shape) + ", expected 4 dimensions");
  for (const std::string& name : resnet_names()) {
    const ResNetSpec spec = resnet_spec(name);
    if (spec.blocks != blocks || spec.bottleneck != bottleneck) continue;
    if (stem.shape[2] != spec.stem_filter || stem.shape[3] != spec.stem_filter)
      refuse_relative(name + " with another stem",
                      "conv1.weight has the shape " + shape_text(stem.shape) + ", expected filters of " +
                          std::to_string(spec.stem_filter) + "x" + std::to_string(spec.stem_filter));
    if (stem.shape[0] == spec.stem_channels || !spec.stem_pool) return spec;
    return resnet_spec(name + "_w" + std::to_string(stem.shape[0]));
  }
  std::string counts;
  for (const int64_t count : blocks) counts += (counts.empty() ? "" : ", ") + std::to_string(count);
  refuse("it is a " + family_name(blocks, bottleneck) + " of " + counts +
         (bottleneck ? " bottleneck" : " basic") + " blocks, which is none of " + supported());
}

class Shapes {
 public:
  Shapes(const Tensors& tensors, const std::string& arch) : tensors_(tensors), arch_(arch) {}
  void expect(const std::string& name, const std::vector<int64_t>& shape) {
    const ArrayView* array = tensors_.find(name);
    if (!array) refuse("tensor " + name + " is missing: " + arch_ + " has one of shape " + shape_text(shape));
    if (array->shape != shape)
      refuse("tensor " + name + " has the shape " + shape_text(array->shape) + ", " + arch_ + " expects " +
             shape_text(shape));
    names_.push_back(name);
  }
  bool expected(const std::string& name) const {
    return std::find(names_.begin(), names_.end(), name) != names_.end();
  }

 private:
  const Tensors& tensors_;
  std::string arch_;
  std::vector<std::string> names_;
};

}  // namespace

Recognized recognize(const StateDict& dict) {
  const Tensors tensors(dict);
  const std::vector<int64_t> blocks = tensors.blocks();
  const bool stem = tensors.find("conv1.weight") || tensors.is_conv("conv1.0.weight");
  if (blocks.empty() && stem) refuse_relatives(tensors, "resnet", false);
  if (blocks.empty() || !stem) refuse_stranger(dict);
  const bool bottleneck = tensors.find("layer1.0.conv3.weight") != nullptr;
  refuse_relatives(tensors, family_name(blocks, bottleneck), bottleneck);
  Recognized found{spec_of(tensors, blocks, bottleneck), 3, 0};
  found.image_channels = tensors.find("conv1.weight")->shape[1];
  if (found.image_channels < 1 || found.image_channels > 64)
    refuse("conv1.weight takes images of " + std::to_string(found.image_channels) +
           " channels, expected 1 to 64");
  Shapes shapes(tensors, found.spec.name);
  for (const LayerName& layer : layer_names(found.spec, found.image_channels)) {
    shapes.expect(layer.conv + ".weight", {layer.k, layer.c, layer.filter, layer.filter});
    for (const char* part : {".weight", ".bias", ".running_mean", ".running_var"})
      shapes.expect(layer.norm + part, {layer.k});
  }
  if (const ArrayView* head = tensors.find("fc.weight")) {
    const int64_t features = found.spec.stage_output(found.spec.blocks.size() - 1);
    if (head->shape.size() != 2 || head->shape[0] < 1)
      refuse("tensor fc.weight has the shape " + shape_text(head->shape) + ", expected [classes, " +
             std::to_string(features) + "]");
    found.classes = head->shape[0];
    shapes.expect("fc.weight", {found.classes, features});
    shapes.expect("fc.bias", {found.classes});
  }
  for (const auto& [name, array] : dict.tensors) {
    const bool body = name.starts_with("layer") || name.starts_with("conv1.") || name.starts_with("bn1.");
    if (body && !name.ends_with(".num_batches_tracked") && !shapes.expected(name))
      refuse("tensor " + formats::shown_name(name) + " of shape " + shape_text(array.shape) +
             " has no place in a " + found.spec.name + ": it is another network");
  }
  return found;
}

}  // namespace rtfq::checkpoint
