#include <filesystem>
#include <memory>

#include "tools/command.h"
#include "training/export_torch.h"
#include "training/network.h"
#include "training/prepared_images.h"

namespace rtfq::cli {
namespace {

struct Options {
  std::string run, subnet, format = "torch", domain, out;
  bool full_precision = false;
};

struct Format {
  const char* name;
  void (*write)(TrainedBank&, const Subnet&, Domain, const std::string& folder);
};
constexpr Format formats[] = {{"torch", export_torch}};

int export_subnet(const Options& options) {
  OpenedRun run = open_run(options.run);
  TrainedBank& bank = run.bank;
  Subnet subnet = trained_subnets(bank.config).front();
  if (!options.subnet.empty())
    subnet = as_usage([&] { return parse_subnet(options.subnet, bank.config.model.bank); });
  if (options.full_precision) subnet.bits = float_bits;
  Domain domain = inference_domain(bank.config);
  if (!options.domain.empty()) domain = options.domain == "source" ? Domain::source : Domain::target;
  for (const Format& format : formats)
    if (options.format == format.name) format.write(bank, subnet, domain, options.out);
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
  std::vector<std::string> names;
  for (const Format& format : formats) names.emplace_back(format.name);
  command
      ->add_option("--format", options->format,
                   "torch: weights and a module that builds the network in PyTorch")
      ->check(CLI::IsMember(names));
  command
      ->add_option("--domain", options->domain, "whose norms; without it the target's where there are some")
      ->check(CLI::IsMember({"source", "target"}));
  command->add_flag("--full-precision", options->full_precision, "not quantized");
  command->add_option("-o,--out", options->out, "folder to write; files in it are replaced")
      ->required()
      ->type_name("DIR");
  command->footer(
      "Writes model.safetensors (torchvision's names), network.json and network.py, which needs torch "
      "alone.\n"
      "\n"
      "Example:\n"
      "  rtfq export runs/a2w --subnet width=0.9,bits=4 --format torch -o exported");
  command->callback([&action, options] { action = [options] { return export_subnet(*options); }; });
}

}  // namespace rtfq::cli
