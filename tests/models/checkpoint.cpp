// Checkpoints that PyTorch wrote (tests/checkpoints/make_fixtures.py): the same logits and gradients as
// there, and other networks refused by name.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "engine/array_file.h"
#include "engine/formats/tensor_list.h"
#include "engine/safetensors.h"
#include "models/checkpoint/layers.h"
#include "models/checkpoint/pretrained.h"
#include "models/checkpoint/recognize.h"
#include "models/checkpoint/sort_channels.h"

using namespace rtfq;
using namespace rtfq::checkpoint;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

const std::string fixtures = std::string(RTFQ_SOURCE_DIR) + "/tests/checkpoints/";

struct Folder {
  fs::path path = fs::temp_directory_path() / ("rtfq-checkpoint-" + std::to_string(::getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  std::string file(const char* name) const { return (path / name).string(); }
};

Tensor logits(const Pretrained& network, double width = 1, double depth = 1) {
  const Subnet subnet{width, depth, 32, float_bits};
  const auto supernet = as_supernet(network, subnet, 1);
  const Tensor images = nchw_to_nhwc(load_npy(fixtures + "images.npy"));
  const BatchPart part{Domain::source, images.dim(0)};
  Tape tape(false);
  return supernet->forward(tape, subnet, images, std::span(&part, 1), NormMode::stored).data;
}

/// The largest difference, relative to the largest value that is expected.
double difference(const std::vector<float>& got, const std::vector<float>& expected) {
  REQUIRE(got.size() == expected.size());
  double most = 0, largest = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    most = std::max(most, std::abs(static_cast<double>(got[i]) - static_cast<double>(expected[i])));
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
  }
  REQUIRE(largest > 0);
  return most / largest;
}
double difference(const Tensor& got, const std::string& file) {
  return difference(got.to_vector(), load_npy(fixtures + file).to_vector());
}

/// What the tensors of a ResNet are called and shaped like, to be changed by a test; their values are zeros.
class MadeUp {
 public:
  explicit MadeUp(const ResNetSpec& spec, int64_t classes = 5) {
    for (const LayerName& layer : layer_names(spec, 3)) {
      add(layer.conv + ".weight", {layer.k, layer.c, layer.filter, layer.filter});
      for (const char* part : {".weight", ".bias", ".running_mean", ".running_var"})
        add(layer.norm + part, {layer.k});
    }
    add("fc.weight", {classes, spec.stage_output(spec.blocks.size() - 1)});
    add("fc.bias", {classes});
  }
  void add(const std::string& name, const std::vector<int64_t>& shape) {
    dict.tensors[name] = {formats::ElementType::f32, shape, formats::dense_strides(shape), 0, {}};
  }
  std::string refusal() const {
    try {
      return recognize(dict).spec.name;
    } catch (const std::runtime_error& error) {
      return error.what();
    }
  }
  StateDict dict;
};

std::string refusal(const std::function<void()>& read) {
  try {
    read();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "(accepted)";
}

}  // namespace

TEST_CASE("checkpoint: every kind of file gives PyTorch's logits") {
  const std::pair<const char*, const char*> files[] = {
      {"zip.pth", "zip"},          {"legacy.pth", "zip"},        {"views.pth", "zip"},
      {"views_legacy.pth", "zip"}, {"bf16.safetensors", "bf16"}, {"wrapped_f16.pth", "f16"},
      {"ema_f64.pth", "ema"}};
  for (const auto& [file, expected] : files) {
    INFO(file);
    const Pretrained network = read_pretrained(fixtures + file);
    CHECK(network.spec.name == "resnet18_w2");
    CHECK(network.classes == 5);
    CHECK(network.origin.sha256.size() == 64);
    CHECK(difference(logits(network), std::string("logits_") + expected + ".npy") <= 1e-5);
  }
  CHECK(difference(logits(read_pretrained(fixtures + "ema_f64.pth", {"", "model"})), "logits_f16.npy") <=
        1e-5);
  // The files differ: a test that took one for another would fail.
  CHECK(difference(logits(read_pretrained(fixtures + "zip.pth")), "logits_ema.npy") > 1e-3);
  CHECK(difference(logits(read_pretrained(fixtures + "zip.pth")), "logits_bf16.npy") > 1e-5);
}

TEST_CASE("checkpoint: every width and depth is PyTorch's sliced network") {
  for (const auto& [file, arch] :
       {std::pair{"zip.pth", "resnet18"}, {"bottleneck.safetensors", "resnet50"}}) {
    const Pretrained network = read_pretrained(fixtures + file);
    CHECK(network.spec.name == std::string(arch) + "_w2");
    for (const double width : {1.0, 0.5})
      for (const double depth : {1.0, 0.5}) {
        char name[64];
        std::snprintf(name, sizeof name, "logits_%s_w%g_d%g.npy", arch, width, depth);
        INFO(name);
        CHECK(difference(logits(network, width, depth), name) <= 1e-5);
      }
  }
}

TEST_CASE("checkpoint: every parameter has PyTorch's gradient") {
  const Pretrained pretrained = read_pretrained(fixtures + "zip.pth");
  const Subnet subnet{1, 1, 32, float_bits};
  const auto network = as_supernet(pretrained, subnet, 1);
  const Tensor images = nchw_to_nhwc(load_npy(fixtures + "images.npy"));
  const std::vector<float> labels = load_npy(fixtures + "labels.npy").to_vector();
  const int64_t n = images.dim(0), classes = pretrained.classes;
  const BatchPart part{Domain::source, n};
  Tape tape(true);
  const Variable out = network->forward(tape, subnet, images, std::span(&part, 1), NormMode::batch);
  std::vector<float> gradient = out.data.to_vector();
  for (int64_t i = 0; i < n; ++i) {
    double sum = 0;
    float* row = gradient.data() + i * classes;
    for (int64_t k = 0; k < classes; ++k) sum += std::exp(static_cast<double>(row[k]));
    for (int64_t k = 0; k < classes; ++k)
      row[k] = static_cast<float>((std::exp(static_cast<double>(row[k])) / sum -
                                   (static_cast<float>(k) == labels[static_cast<std::size_t>(i)])) /
                                  static_cast<double>(n));
  }
  tape.backward(out, Tensor::from(gradient, {n, classes}));

  const auto bytes = formats::read_whole_file(fixtures + "gradients.safetensors");
  std::map<std::string, std::vector<float>> expected;
  for (const auto& tensor : formats::read_safetensors(bytes).tensors)
    expected[tensor.name] = formats::to_f32(tensor.array);
  std::map<std::string, const Parameter*> ours;
  for (const Parameter* p : network->parameters()) ours[p->name] = p;
  std::size_t compared = 0;
  const auto compare = [&](const std::string& theirs, const std::vector<float>& got) {
    INFO(theirs);
    CHECK(difference(got, expected.at(theirs)) <= 1e-3);
    ++compared;
  };
  for (const LayerName& layer : layer_names(pretrained.spec, 3)) {
    compare(layer.conv + ".weight",
            to_oihw(ours.at(layer.ours + ".weight")->gradient.to_vector(), layer.k, layer.c, layer.filter));
    compare(layer.norm + ".weight", ours.at(layer.ours + ".norm.w1.d1.scale")->gradient.to_vector());
    compare(layer.norm + ".bias", ours.at(layer.ours + ".norm.w1.d1.shift")->gradient.to_vector());
  }
  compare("fc.weight", ours.at("classifier.weight")->gradient.to_vector());
  compare("fc.bias", ours.at("classifier.bias")->gradient.to_vector());
  CHECK(compared == expected.size());
}

TEST_CASE("checkpoint: sorting channels changes their order and not the function") {
  for (const char* file : {"zip.pth", "bottleneck.safetensors"}) {
    INFO(file);
    const Pretrained plain = read_pretrained(fixtures + file);
    Pretrained sorted = plain;
    sort_channels(sorted);
    CHECK(sorted.sorted);
    CHECK(difference(logits(sorted).to_vector(), logits(plain).to_vector()) <= 1e-5);
    int moved = 0;
    for (std::size_t i = 0; i < plain.layers.size(); ++i)
      moved += plain.layers[i].scale != sorted.layers[i].scale;
    CHECK(moved > static_cast<int>(plain.layers.size()) / 2);
    // What is left out differs, so narrow subnets do.
    CHECK(difference(logits(sorted, 0.5).to_vector(), logits(plain, 0.5).to_vector()) > 1e-3);
    Pretrained again = sorted;
    sort_channels(again);
    for (std::size_t i = 0; i < again.layers.size(); ++i)
      CHECK(again.layers[i].weight == sorted.layers[i].weight);
  }
}

TEST_CASE("checkpoint: a dead channel goes last, in a block and in a stream") {
  Pretrained network = read_pretrained(fixtures + "bottleneck.safetensors");
  const auto layer = [&](const std::string& name) -> PretrainedLayer& {
    return *std::find_if(network.layers.begin(), network.layers.end(),
                         [&](const PretrainedLayer& l) { return l.name == name; });
  };
  for (const char* name : {"stage2.block1.conv1", "stage2.block0.projection", "stage2.block0.conv3",
                           "stage2.block1.conv3", "stage2.block2.conv3", "stage2.block3.conv3"}) {
    layer(name).scale[0] = 0;
    layer(name).shift[0] = -1;
  }
  sort_channels(network);
  CHECK(layer("stage2.block1.conv1").scale.back() == 0);
  CHECK(layer("stage2.block0.projection").scale.back() == 0);
  CHECK(layer("stage2.block3.conv3").scale.back() == 0);
}

TEST_CASE("checkpoint: a bank's start keeps everything, and says where it came from") {
  const Folder folder;
  const std::string path = folder.file("bank.safetensors");
  Pretrained network = read_pretrained(fixtures + "wrapped_f16.pth");
  const std::string first = network.origin.sha256;
  save_pretrained(path, network);
  const Pretrained again = read_pretrained(path);
  CHECK(again.origin.first == first);
  CHECK(again.origin.sha256 != first);
  CHECK_FALSE(again.sorted);
  CHECK(logits(again).to_vector() == logits(network).to_vector());
  sort_channels(network);
  save_pretrained(path, network);
  CHECK(read_pretrained(path).sorted);
}

TEST_CASE("checkpoint: a supernet starts with leading channels everywhere") {
  const Pretrained from = read_pretrained(fixtures + "zip.pth");
  SupernetOptions options;
  options.arch = "resnet18_w2";
  options.classes = 4;
  options.bank = {{1, 0.5}, {1}, {32, 24}, {8, 4}, 1};
  Supernet network(options, 1);
  const StartReport report = start_from(network, from);
  CHECK_THAT(report_text(report),
             Contains("classifier of 5 classes") && Contains("classifier of 4 classes (random)") &&
                 Contains("num_batches_tracked") && Contains("step sizes") && Contains(from.origin.sha256));
  for (const Parameter* p : network.parameters()) {
    if (p->name.starts_with("stage1.block0.conv2.norm.") && p->name.ends_with(".scale"))
      CHECK(p->value.to_vector() == std::vector<float>(from.layers[2].scale.begin(),
                                                       from.layers[2].scale.begin() + p->value.count()));
    CHECK(std::isfinite(p->value.to_vector()[0]));
  }
  // The full network has statistics at full precision, at both resolutions and in both domains; others have
  // none.
  SwitchableNorm& norm = *network.norms()[2];
  for (const Domain domain : {Domain::source, Domain::target})
    for (const int resolution : {32, 24}) {
      CHECK(norm.seen(place(options.bank, {1, 1, resolution, float_bits}), domain));
      CHECK_FALSE(norm.seen(place(options.bank, {1, 1, resolution, 8}), domain));
      CHECK_FALSE(norm.seen(place(options.bank, {0.5, 1, resolution, float_bits}), domain));
    }
  options.classes = 5;
  Supernet same_classes(options, 1);
  start_from(same_classes, from);
  const auto& parameters = same_classes.parameters();
  const auto head = std::find_if(parameters.begin(), parameters.end(),
                                 [](const Parameter* p) { return p->name == "classifier.weight"; });
  CHECK((*head)->value.to_vector() == from.classifier);

  options.image_channels = 1;
  Supernet grey(options, 1);
  CHECK_THAT(report_text(start_from(grey, from)), Contains("added up for grey"));
  const Tensor stem = grey.parameters()[0]->name == "stem.weight" ? grey.parameters()[0]->value : Tensor();
  for (const Parameter* p : grey.parameters())
    if (p->name == "stem.weight") {
      const auto& w = from.layers[0].weight;
      CHECK(p->value.to_vector()[3] == Approx(w[3] + w[49 + 3] + w[98 + 3]));
    }
  options.image_channels = 2;
  Supernet two(options, 1);
  CHECK_THAT(refusal([&] { start_from(two, from); }), Contains("3 channels") && Contains("data.channels=2"));
  options.arch = "resnet14_small";
  options.bank = {{1}, {1}, {32}, {8}, 1};
  Supernet other(options, 1);
  CHECK_THAT(refusal([&] { start_from(other, from); }),
             Contains("resnet18_w2") && Contains("resnet14_small"));
}

TEST_CASE("checkpoint: each architecture is recognized from its tensors") {
  for (const std::string& name : resnet_names()) CHECK(MadeUp(resnet_spec(name)).refusal() == name);
  MadeUp headless(resnet_spec("resnet50"));
  headless.dict.tensors.erase("fc.weight");
  CHECK(recognize(headless.dict).classes == 0);
  MadeUp extra(resnet_spec("resnet18"));
  extra.add("layer1.0.bn1.num_batches_tracked", {});
  extra.add("projector.weight", {3, 3});
  CHECK(extra.refusal() == "resnet18");
}

TEST_CASE("checkpoint: other networks are refused by name, with what differs") {
  const ResNetSpec spec = resnet_spec("resnet50");
  MadeUp deep(spec);
  deep.dict.tensors.erase("conv1.weight");
  deep.add("conv1.0.weight", {32, 3, 3, 3});
  CHECK_THAT(deep.refusal(), Contains("resnet50c/s/t") && Contains("three 3x3"));
  deep.add("layer2.0.downsample.1.weight", {512, 256, 1, 1});
  CHECK_THAT(deep.refusal(), Contains("resnet50d") && Contains("pool"));
  MadeUp grouped(spec);
  for (int block = 0; block < 3; ++block)
    grouped.add("layer1." + std::to_string(block) + ".conv2.weight", {128, 4, 3, 3});
  CHECK_THAT(grouped.refusal(), Contains("resnext50_32x4d") && Contains("32 groups"));
  MadeUp wide(spec);
  wide.add("layer1.0.conv2.weight", {128, 128, 3, 3});
  CHECK_THAT(wide.refusal(), Contains("wide_resnet50_2"));
  MadeUp squeezed(spec);
  squeezed.add("layer1.0.se.fc1.weight", {16, 256, 1, 1});
  CHECK_THAT(squeezed.refusal(), Contains("SE-ResNet") && Contains("layer1.0.se.fc1.weight"));
  MadeUp group_norm(spec);
  group_norm.dict.tensors.erase("bn1.running_mean");
  CHECK_THAT(group_norm.refusal(), Contains("without batch statistics"));
  ResNetSpec other = resnet_spec("resnet50");
  other.blocks = {2, 2, 2, 2};
  CHECK_THAT(MadeUp(other).refusal(), Contains("resnet26 of 2, 2, 2, 2 bottleneck blocks"));
  ResNetSpec small_stem = resnet_spec("resnet18");
  small_stem.stem_filter = 3;
  CHECK_THAT(MadeUp(small_stem).refusal(), Contains("[64, 3, 3, 3]") && Contains("7x7"));
  MadeUp shape(spec);
  shape.add("layer3.2.bn1.bias", {255});
  CHECK_THAT(shape.refusal(), Contains("layer3.2.bn1.bias") && Contains("[255]") && Contains("[256]"));
  MadeUp missing(spec);
  missing.dict.tensors.erase("layer4.2.conv3.weight");
  CHECK_THAT(missing.refusal(),
             Contains("layer4.2.conv3.weight is missing") && Contains("[2048, 512, 1, 1]"));
  MadeUp surplus(spec);
  surplus.add("layer1.0.bn4.weight", {64});
  CHECK_THAT(surplus.refusal(), Contains("layer1.0.bn4.weight") && Contains("no place"));
  StateDict vit;
  vit.tensors["blocks.0.attn.qkv.weight"] = {formats::ElementType::f32, {3, 3}, {3, 1}, 0, {}};
  CHECK_THAT(refusal([&] { recognize(vit); }), Contains("vision transformer"));
}

TEST_CASE("checkpoint: files that cannot be meant are refused with their name") {
  const Folder folder;
  for (const char* file : {"malicious.pth", "malicious_legacy.pth"})
    CHECK_THAT(refusal([&] { read_pretrained(fixtures + file); }),
               Contains(file) && Contains("posix.system") && Contains("nothing was executed"));
  CHECK_FALSE(fs::exists("executed"));
  CHECK_THAT(refusal([&] {
               read_pretrained(fixtures + "zip.pth", {"resnet50", ""});
             }),
             Contains("holds a resnet18_w2, expected resnet50"));
  CHECK_THAT(refusal([&] {
               read_pretrained(fixtures + "ema_f64.pth", {"", "nope"});
             }),
             Contains("'nope'") && Contains("'model_ema'"));
  CHECK_THAT(refusal([&] { read_pretrained(folder.file("none.pth")); }), Contains("none.pth: No such file"));
  CHECK_THAT(refusal([&] { read_pretrained(folder.path.string()); }), Contains("not a regular file"));
  std::ofstream(folder.file("text.pth")) << "hello, this is no checkpoint";
  CHECK_THAT(refusal([&] { read_pretrained(folder.file("text.pth")); }), Contains("neither"));
  CHECK_THAT(refusal([&] { read_pretrained(fixtures + "gradients.safetensors"); }), Contains("running_mean"));
  Pretrained network = read_pretrained(fixtures + "zip.pth");
  network.layers[3].weight[5] = std::numeric_limits<float>::quiet_NaN();
  save_pretrained(folder.file("nan.safetensors"), network);
  CHECK_THAT(refusal([&] { read_pretrained(folder.file("nan.safetensors")); }),
             Contains("layer1.1.conv1.weight") && Contains("not finite"));
  network.classes = 0;
  CHECK_THAT(refusal([&] { as_supernet(network, {1, 1, 32, float_bits}, 1); }), Contains("no classifier"));
}
