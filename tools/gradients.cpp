// rtfq-gradients: logits in training mode and the gradient of a mean cross entropy for every parameter of a
// pretrained network, under torchvision's names. What tools/parity compares with PyTorch.
#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <unordered_map>

#include "engine/array_file.h"
#include "engine/safetensors.h"
#include "models/checkpoint/layers.h"
#include "models/checkpoint/pretrained.h"

namespace {

using namespace rtfq;

struct Arguments {
  std::string checkpoint, images, labels, out, subnet;
  int multiple = 16;
};

/// (softmax - one hot) / n.
Tensor loss_gradient(const Tensor& logits, const std::vector<float>& labels) {
  const int64_t n = logits.dim(0), classes = logits.dim(1);
  if (static_cast<int64_t>(labels.size()) != n)
    throw std::invalid_argument("[gradients] expected a label for each of " + std::to_string(n) +
                                " images, got " + std::to_string(labels.size()));
  Tensor gradient = logits.clone();
  for (int64_t i = 0; i < n; ++i) {
    float* row = gradient.as<float>() + i * classes;
    const double largest = static_cast<double>(*std::max_element(row, row + classes));
    double sum = 0;
    for (int64_t k = 0; k < classes; ++k) sum += std::exp(static_cast<double>(row[k]) - largest);
    for (int64_t k = 0; k < classes; ++k) {
      const double hit = static_cast<float>(k) == labels[static_cast<std::size_t>(i)] ? 1 : 0;
      row[k] = static_cast<float>((std::exp(static_cast<double>(row[k]) - largest) / sum - hit) /
                                  static_cast<double>(n));
    }
  }
  return gradient;
}

void run(const Arguments& a) {
  const Tensor images = nchw_to_nhwc(load_npy(a.images));
  const int resolution = static_cast<int>(images.dim(1));
  const checkpoint::Pretrained from = checkpoint::read_pretrained(a.checkpoint);
  const Subnet subnet = parse_subnet_values(a.subnet, {1, 1, resolution, float_bits});
  const auto network = checkpoint::as_supernet(from, subnet, a.multiple);
  const BatchPart part{Domain::source, images.dim(0)};
  Tape tape(true);
  const Variable logits = network->forward(tape, subnet, images, std::span(&part, 1), NormMode::batch);
  TensorFile file;
  file.tensors.emplace_back("logits", logits.data.clone());
  tape.backward(logits, loss_gradient(logits.data, load_npy(a.labels).to_vector()));

  std::unordered_map<std::string, Tensor> gradients;
  for (const Parameter* p : network->parameters())
    if (p->touched) gradients[p->name] = p->gradient;
  char set[64];
  std::snprintf(set, sizeof set, ".norm.w%g.d%g.", subnet.width, subnet.depth);
  for (const auto& layer : checkpoint::layer_names(from.spec, from.image_channels)) {
    const auto weight = gradients.find(layer.ours + ".weight");
    if (weight == gradients.end()) continue;  // deeper than the subnet
    file.tensors.emplace_back(
        layer.conv + ".weight",
        Tensor::from(checkpoint::to_oihw(weight->second.to_vector(), layer.k, layer.c, layer.filter),
                     {layer.k, layer.c, layer.filter, layer.filter}));
    file.tensors.emplace_back(layer.norm + ".weight", gradients.at(layer.ours + set + "scale"));
    file.tensors.emplace_back(layer.norm + ".bias", gradients.at(layer.ours + set + "shift"));
  }
  file.tensors.emplace_back("fc.weight", gradients.at("classifier.weight"));
  file.tensors.emplace_back("fc.bias", gradients.at("classifier.bias"));
  save_tensors(a.out, file);
}

}  // namespace

int main(int argc, char** argv) {
  Arguments a;
  CLI::App app{
      "Gradients of a mean cross entropy for every parameter of a pretrained network; norms use the batch."};
  app.add_option("checkpoint", a.checkpoint)->required();
  app.add_option("--input", a.images, "images [n, channels, size, size], .npy")->required();
  app.add_option("--labels", a.labels, "[n], .npy")->required();
  app.add_option("--output", a.out, "safetensors")->required();
  app.add_option("--subnet", a.subnet, "width=0.9,depth=0.5");
  app.add_option("--multiple", a.multiple);
  CLI11_PARSE(app, argc, argv);
  try {
    run(a);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rtfq-gradients: %s\n", error.what());
    return 1;
  }
  return 0;
}
