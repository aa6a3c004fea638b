// Checkpoints on the command line: import, forward, training from one, export.
#include <cmath>
#include <filesystem>

#include "engine/array_file.h"
#include "engine/safetensors.h"
#include "models/checkpoint/pretrained.h"
#include "tests/tools/command.h"

using namespace rtfq;
using Catch::Matchers::Contains;
using nlohmann::json;
using test::contents;
using test::Outcome;
using test::succeed;
using test::Workplace;
namespace fs = std::filesystem;

namespace {

const std::string fixtures = std::string(RTFQ_SOURCE_DIR) + "/tests/checkpoints/";

double difference(const std::string& a, const std::string& b) {
  const auto x = load_npy(a).to_vector(), y = load_npy(b).to_vector();
  REQUIRE(x.size() == y.size());
  double most = 0, largest = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    most = std::max(most, std::abs(static_cast<double>(x[i]) - static_cast<double>(y[i])));
    largest = std::max(largest, std::abs(static_cast<double>(y[i])));
  }
  return most / largest;
}

/// A grey network of the small kind, random, as a checkpoint.
std::string small_checkpoint(const Workplace& place) {
  checkpoint::Pretrained network;
  network.spec = resnet_spec("resnet14_small");
  network.image_channels = 1;
  network.classes = 9;
  SupernetOptions options;
  options.arch = "resnet14_small";
  options.image_channels = 1;
  options.bank = {{1}, {1}, {12}, {float_bits}, 8};
  const Supernet random(options, 77);
  std::map<std::string, Tensor> tensors;
  for (const Parameter* p : random.parameters()) tensors[p->name] = p->value;
  for (const ConvPlan& conv : plan(network.spec, {1, 1, 12, float_bits}, 8, 1)) {
    const std::size_t k = static_cast<std::size_t>(conv.k);
    network.layers.push_back(
        {conv.name, conv.k, conv.c, conv.filter,
         checkpoint::to_oihw(tensors.at(conv.name + ".weight").to_vector(), conv.k, conv.c, conv.filter),
         std::vector<float>(k, 1.25f), std::vector<float>(k, 0.125f), std::vector<float>(k, 0.0f),
         std::vector<float>(k, 1.0f)});
  }
  network.classifier.assign(9 * 128, 0.01f);
  network.bias.assign(9, 0.0f);
  const std::string path = place.at("small.safetensors");
  checkpoint::save_pretrained(path, network);
  return path;
}

}  // namespace

TEST_CASE("checkpoint: import and forward, as anyone would check them") {
  const Workplace place;
  const std::string bank = place.at("bank.safetensors"), out = place.at("y.npy");
  const Outcome imported =
      succeed(place, {"import", fixtures + "wrapped_f16.pth", "--sort-channels", "-o", bank});
  CHECK_THAT(imported.out, Contains("resnet18_w2") && Contains("5 classes") && Contains("'module.'") &&
                               Contains("num_batches_tracked of 20 norms") &&
                               Contains("sorted by importance"));
  succeed(place, {"forward", bank, "--input", fixtures + "images.npy", "--output", out, "--batch", "2"});
  CHECK(difference(out, fixtures + "logits_f16.npy") <= 1e-5);
  succeed(place, {"forward", fixtures + "legacy.pth", "--input", fixtures + "images.npy", "--output", out,
                  "--subnet", "width=0.5,depth=0.5", "--multiple", "1", "--full-precision"});
  CHECK(difference(out, fixtures + "logits_resnet18_w0.5_d0.5.npy") <= 1e-5);

  const auto fails = [&](const std::vector<std::string>& arguments, int status, const std::string& message) {
    const Outcome outcome = place.rtfq(arguments);
    INFO(outcome.err);
    CHECK(outcome.status == status);
    CHECK_THAT(outcome.err, Contains(message));
  };
  fails({"import", fixtures + "malicious.pth"}, 1, "posix.system");
  fails({"import", fixtures + "zip.pth", "--arch", "resnet50"}, 2, "expected resnet50");
  fails({"forward", fixtures + "zip.pth", "--input", fixtures + "labels.npy", "--output", out}, 2,
        "[n, channels, size");
  fails({"forward", fixtures + "zip.pth", "--input", fixtures + "zip.pth", "--output", out}, 1,
        "not a .npy file");
  fails({"forward", fixtures + "zip.pth", "--input", fixtures + "images.npy", "--output", out, "--subnet",
         "bits=4"},
        2, "no step sizes for 4 bits");
  fails({"forward", fixtures + "zip.pth", "--input", fixtures + "images.npy", "--output", out, "--subnet",
         "resolution=64"},
        2, "has 32");
}

TEST_CASE("checkpoint: a run starts from one, records it, and goes out again") {
  const Workplace place;
  const std::string file = small_checkpoint(place), run = place.at("run");
  const Outcome trained = succeed(place, place.train("run", {"--set", "checkpoint=" + file}));
  CHECK_THAT(trained.err, Contains("classifier of 9 classes") && Contains("sha256"));
  const std::string hash = checkpoint::read_pretrained(file).origin.sha256;
  CHECK(json::parse(load_metadata(run + "/checkpoint.safetensors").at("pretrained")).at("sha256") == hash);
  CHECK_THAT(contents(run + "/sessions.jsonl"), Contains(hash));
  CHECK_THAT(succeed(place, {"info", run}).out, Contains(hash));
  // The first loss depends on the weights: another start is another run.
  succeed(place, place.train("random"));
  const auto first_loss = [&](const std::string& of) {
    return json::parse(contents(place.at(of) + "/log.jsonl")
                           .substr(0, contents(place.at(of) + "/log.jsonl").find('\n')))
        .at("loss")
        .get<double>();
  };
  CHECK(first_loss("run") != first_loss("random"));
  // Going on does not need the file.
  fs::remove(file);
  CHECK(place.rtfq(place.train("run", {"--set", "checkpoint=" + file, "--resume"})).status == 0);
  CHECK(place.rtfq(place.train("other", {"--set", "checkpoint=" + file})).status == 1);

  const std::string out = place.at("exported");
  succeed(place, {"export", run, "--subnet", "width=0.5,bits=4", "--format", "torch", "-o", out});
  const json network = json::parse(contents(out + "/network.json"));
  CHECK(network.at("subnet") == "w0.5-d1-r12-b4");
  CHECK(network.at("pretrained").at("sha256") == hash);
  CHECK(network.at("stages").size() == 3);
  CHECK(network.at("quantizers").at("stem").at("qp") == 127);
  CHECK(network.at("quantizers").at("stage1.block0.conv1").at("qn") == 8);
  CHECK(network.at("quantizers").at("stage1.block0.inner1").at("qp") == 15);
  const TensorFile tensors = load_tensors(out + "/model.safetensors");
  CHECK(tensors.at("conv1.weight").dims() == Dims{16, 1, 5, 5});
  CHECK(tensors.at("layer3.1.conv2.weight").dims() == Dims{64, 64, 3, 3});
  CHECK(tensors.at("layer2.0.downsample.1.running_var").dims() == Dims{32});
  CHECK(tensors.at("fc.weight").dims() == Dims{2, 64});
  CHECK(tensors.find("steps.features"));
  for (const auto& [name, bounds] : network.at("quantizers").items()) {
    INFO(name);
    CHECK(tensors.at("steps." + name).as<float>()[0] > 0);
  }
  CHECK_THAT(contents(out + "/network.py"), Contains("class Network") && Contains("def load("));
  CHECK(place.rtfq({"export", run, "--format", "onnx-of-tomorrow", "-o", out}).status == 2);
}
