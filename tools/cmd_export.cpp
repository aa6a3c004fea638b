#include <filesystem>
#include <memory>

#include "engine/safetensors.h"
#include "models/onnx/export.h"
#include "tools/command.h"
#include "tools/packed_file.h"
#include "training/export_torch.h"
#include "training/network.h"
#include "training/prepared_images.h"

namespace rtfq::cli {
namespace {

struct Options {
  std::string run, subnet, format = "torch", domain, out;
  bool full_precision = false;
};

/// Writes one file, by way of a packed one where the subnet is quantized.
void export_onnx(const OpenedRun& run, const Subnet& subnet, Domain domain, const std::string& path) {
  const Supernet& network = *run.bank.network;
  if (subnet.bits == float_bits) {
    write_file_atomically(path, onnx::full_precision(network, subnet, domain));
    return;
  }
  const std::vector<packed::SubnetEntry> entries{{subnet, network.cost(subnet), {}}};
  const auto file = packed::pack(network, domain, entries, pack_info(run, entries));
  write_file_atomically(path, onnx::quantized(packed::Model(file), 0));
}

int export_subnet(const Options& options) {
  OpenedRun run = open_run(options.run);
  TrainedBank& bank = run.bank;
  Subnet subnet = trained_subnets(bank.config).front();
  if (!options.subnet.empty())
    subnet = as_usage([&] { return parse_subnet(options.subnet, bank.config.model.bank); });
  if (options.full_precision) subnet.bits = float_bits;
  Domain domain = inference_domain(bank.config);
  if (!options.domain.empty()) domain = options.domain == "source" ? Domain::source : Domain::target;
  if (options.format == "onnx") {
    export_onnx(run, subnet, domain, options.out);
    note(id(subnet) + " is in " + options.out);
    return done;
  }
  export_torch(bank, subnet, domain, options.out);
  note(id(subnet) + " is in " + options.out +
       "; in Python, with that folder on the path:\n  import network; model = network.load()");
  return done;
}

}  // namespace

void add_export(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("export", "one subnet of a run for another program");
  command->add_option("run", options->run, "folder of a run, or a checkpoint")->required()->type_name("RUN");
  command
      ->add_option("--subnet", options->subnet,
                   "width=0.9,depth=1,resolution=160,bits=4; without it the largest")
      ->type_name("SUBNET");
  command
      ->add_option("--format", options->format,
                   "torch: weights and a module that builds the network in PyTorch; onnx: one file, "
                   "quantized in QDQ form")
      ->check(CLI::IsMember({"torch", "onnx"}));
  command
      ->add_option("--domain", options->domain, "whose norms; without it the target's where there are some")
      ->check(CLI::IsMember({"source", "target"}));
  command->add_flag("--full-precision", options->full_precision, "not quantized");
  command->add_option("-o,--out", options->out, "folder to write, whose files are replaced; with onnx a file")
      ->required()
      ->type_name("DIR|FILE");
  command->footer(
      "torch: writes model.safetensors (torchvision's names), network.json and network.py, which needs torch "
      "alone.\n"
      "onnx: input images [batch, channels, r, r], normalized; output logits (docs/deploy.md)\n"
      "\n"
      "Examples:\n"
      "  rtfq export runs/a2w --subnet bits=8 --format onnx -o a2w.onnx\n"
      "  rtfq export runs/a2w --subnet width=0.9,bits=4 --format torch -o exported");
  command->callback([&action, options] { action = [options] { return export_subnet(*options); }; });
}

}  // namespace rtfq::cli
