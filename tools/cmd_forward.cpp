#include <filesystem>
#include <memory>

#include "engine/array_file.h"
#include "engine/safetensors.h"
#include "models/checkpoint/pretrained.h"
#include "tools/command.h"
#include "training/network.h"
#include "training/prepared_images.h"

namespace rtfq::cli {
namespace {

struct Options {
  std::string network, input, output, subnet, domain, weights;
  int multiple = 16, batch = 16;
  bool full_precision = false;
};

/// A network with its stored statistics, and which part of it answers.
struct Chosen {
  std::unique_ptr<Supernet> network;
  Subnet subnet;
  Domain domain = Domain::source;
};

bool is_run(const std::string& path) {
  if (std::filesystem::is_directory(path)) return true;
  try {
    return load_metadata(path).contains("config");
  } catch (const std::exception&) {
    return false;  // not safetensors
  }
}

Subnet described(const Options& options, Subnet start, int resolution) {
  start.resolution = resolution;
  Subnet subnet = as_usage([&] { return parse_subnet_values(options.subnet, start); });
  if (subnet.resolution != resolution)
    throw UsageError("[forward] " + id(subnet) + " is for images of " + std::to_string(subnet.resolution) +
                     " pixels, " + options.input + " has " + std::to_string(resolution));
  if (options.full_precision) subnet.bits = float_bits;
  return subnet;
}

Chosen from_run(const Options& options, int resolution) {
  OpenedRun run = open_run(options.network);
  const Config& config = run.bank.config;
  Chosen chosen{std::move(run.bank.network), described(options, trained_subnets(config).front(), resolution),
                inference_domain(config)};
  if (!options.domain.empty()) chosen.domain = options.domain == "source" ? Domain::source : Domain::target;
  as_usage([&] { return place(config.model.bank, chosen.subnet); });
  return chosen;
}

Chosen from_pretrained(const Options& options, int resolution) {
  if (!options.domain.empty())
    throw UsageError("[forward] --domain is for runs: a checkpoint has one set of norms");
  return as_usage([&] {
    const auto network = checkpoint::read_pretrained(options.network, {"", options.weights});
    const Subnet subnet = described(options, {1, 1, resolution, float_bits}, resolution);
    return Chosen{checkpoint::as_supernet(network, subnet, options.multiple), subnet, Domain::source};
  });
}

int compute_logits(const Options& options) {
  const Tensor images = load_npy(options.input);
  if (images.rank() != 4 || images.dim(2) != images.dim(3) || images.count() == 0)
    throw UsageError("[forward] " + options.input + " has the shape " + to_string(images.dims()) +
                     ", expected square images [n, channels, size, size], normalized");
  const int resolution = static_cast<int>(images.dim(2));
  Chosen chosen =
      is_run(options.network) ? from_run(options, resolution) : from_pretrained(options, resolution);
  const int64_t channels = chosen.network->options().image_channels, count = images.dim(0);
  if (images.dim(1) != channels)
    throw UsageError("[forward] " + options.input + " has images of " + std::to_string(images.dim(1)) +
                     " channel(s), the network takes " + std::to_string(channels));
  const Tensor logits = Tensor::empty({count, chosen.network->options().classes});
  for (int64_t begin = 0; begin < count; begin += options.batch) {
    const int64_t n = std::min<int64_t>(options.batch, count - begin);
    Tape tape(false);
    const BatchPart part{chosen.domain, n};
    const Variable answer = chosen.network->forward(
        tape, chosen.subnet, nchw_to_nhwc(images.slice(0, begin, n)), std::span(&part, 1), NormMode::stored);
    logits.slice(0, begin, n).copy_from(answer.data);
  }
  save_npy(options.output, logits);
  note("logits of " + id(chosen.subnet) + " for " + std::to_string(count) + " images are in " +
       options.output);
  return done;
}

}  // namespace

void add_forward(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("forward", "logits of images in a .npy file, to check a network by");
  command
      ->add_option(
          "network", options->network,
          "a run or its checkpoint, a bank's start, or a .pth or .safetensors file of torchvision or timm")
      ->required()
      ->type_name("CHECKPOINT|RUN");
  command
      ->add_option("--input", options->input,
                   "images [n, channels, size, size], normalized, as numpy.save writes")
      ->required()
      ->type_name("X.npy");
  command->add_option("--output", options->output, "logits [n, classes], f32")
      ->required()
      ->type_name("Y.npy");
  command
      ->add_option(
          "--subnet", options->subnet,
          "width=0.9,depth=0.5,bits=4; what is left out is the largest, the resolution is that of the "
          "images. "
          "Of a pretrained network any width and depth, with the leading channels of its norms' statistics")
      ->type_name("SUBNET");
  command->add_flag("--full-precision", options->full_precision, "not quantized, as bits=32");
  command
      ->add_option("--domain", options->domain,
                   "whose norms of a run; without it the target's where it has some")
      ->check(CLI::IsMember({"source", "target"}));
  command
      ->add_option("--multiple", options->multiple, "of a pretrained network: channels are rounded to this")
      ->check(CLI::Range(1, 256));
  command->add_option("--weights", options->weights, "of a pretrained network: the dictionary in its file")
      ->type_name("NAME");
  command->add_option("--batch", options->batch, "images at a time; changes memory, not results")
      ->check(CLI::Range(1, 65536));
  command->footer(
      "Norms use stored statistics, as evaluation does.\n"
      "\n"
      "Example:\n"
      "  rtfq forward resnet50.pth --input x.npy --output y.npy --subnet width=0.9");
  command->callback([&action, options] { action = [options] { return compute_logits(*options); }; });
}

}  // namespace rtfq::cli
